use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use std::io::Write;

use super::*;

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const EXCEL: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const TEXT: &str = "application/vnd.oasis.opendocument.text";

impl Source for Vec<u8> {
    async fn range(&self, from: u64, to: u64) -> Result<Vec<u8>> {
        let at = |place: u64| usize::try_from(place).unwrap().min(self.len());
        assert!(from <= to && to - from <= MAX_DIRECTORY, "{from} to {to}");
        Ok(self[at(from)..at(to)].to_vec())
    }
}

fn of(bytes: Vec<u8>) -> &'static str {
    let size = bytes.len() as u64;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move { type_of(&bytes, size).await }).unwrap()
}

/// An archive under way.
#[derive(Default, Clone)]
struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    parts: u16,
    /// Whether sizes come after a part's bytes, and numbers in the 64-bit form.
    streamed: bool,
    large: bool,
}

impl Zip {
    fn part(self, name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        self.put(name, 8, &packed, content.len())
    }

    fn stored(self, name: &str, content: &[u8]) -> Self {
        self.put(name, 0, content, content.len())
    }

    fn put(mut self, name: &str, method: u16, packed: &[u8], size: usize) -> Self {
        let number = |it: usize| u32::try_from(it).unwrap();
        let (at, name) = (self.bytes.len(), name.as_bytes());
        let flags: u16 = if self.streamed { 8 } else { 0 };
        let sizes = [number(packed.len()), number(size)];
        let said = if self.streamed { [0; 2] } else { sizes };
        let length = u16::try_from(name.len()).unwrap();
        let mut common = Vec::new();
        common.extend([20_u16, flags, method, 0, 0].map(u16::to_le_bytes).concat());
        common.extend(0_u32.to_le_bytes());
        let begin = common.clone();
        self.bytes.extend([b"PK\x03\x04", begin.as_slice()].concat());
        self.bytes.extend(said.map(u32::to_le_bytes).concat());
        self.bytes.extend([length, 4].map(u16::to_le_bytes).concat());
        self.bytes.extend([name, b"\xfe\xca\0\0", packed].concat());
        if self.streamed {
            self.bytes.extend([b"PK\x07\x08".as_slice(), &[0; 12]].concat());
        }
        let ones = u32::MAX;
        let extra = if self.large {
            let numbers = [sizes[1].into(), sizes[0].into(), at as u64].map(u64::to_le_bytes);
            [[1_u16, 24].map(u16::to_le_bytes).concat(), numbers.concat()].concat()
        } else {
            Vec::new()
        };
        let (sizes, at) = if self.large { ([ones; 2], ones) } else { (sizes, number(at)) };
        let lengths = [length, u16::try_from(extra.len()).unwrap(), 3, 0, 0];
        self.directory.extend([b"PK\x01\x02\x14\0", common.as_slice()].concat());
        self.directory.extend(sizes.map(u32::to_le_bytes).concat());
        self.directory.extend(lengths.map(u16::to_le_bytes).concat());
        self.directory.extend([[0; 4], at.to_le_bytes()].concat());
        self.directory.extend([name, extra.as_slice(), b"rem"].concat());
        self.parts += 1;
        self
    }

    fn end(self, comment: &[u8]) -> Vec<u8> {
        let Self { mut bytes, directory, parts, large, .. } = self;
        let (at, length) = (bytes.len() as u64, directory.len() as u64);
        bytes.extend(directory);
        let mut said = [length, at].map(|it| u32::try_from(it).unwrap());
        if large {
            let record = bytes.len() as u64;
            // Its length, then versions and disks.
            let begin = [b"PK\x06\x06", 44_u64.to_le_bytes().as_slice(), &[0; 12]].concat();
            let numbers = [parts.into(), parts.into(), length, at];
            bytes.extend([begin, numbers.map(u64::to_le_bytes).concat()].concat());
            bytes.extend(
                [b"PK\x06\x07\0\0\0\0", record.to_le_bytes().as_slice(), &[1, 0, 0, 0]].concat(),
            );
            said = [u32::MAX; 2];
        }
        let length = u16::try_from(comment.len()).unwrap();
        bytes.extend(
            [b"PK\x05\x06\0\0\0\0", [parts; 2].map(u16::to_le_bytes).concat().as_slice()].concat(),
        );
        bytes.extend(said.map(u32::to_le_bytes).concat());
        bytes.extend([length.to_le_bytes().as_slice(), comment].concat());
        bytes
    }
}

fn content_types(main: &str) -> String {
    let override_ =
        |name: &str, kind: &str| format!(r#"<Override PartName="/{name}" ContentType="{kind}"/>"#);
    format!(
        r#"<?xml version="1.0"?><Types><Default Extension="xlsx" ContentType="{EXCEL}"/>{}{}</Types>"#,
        override_(
            "docProps/app.xml",
            "application/vnd.openxmlformats-officedocument.extended-properties+xml"
        ),
        override_("main.xml", main),
    )
}

/// Parts in an order of any writer, with so many bytes of others before and after.
fn office(main: &str, zip: Zip, before: usize, after: usize) -> Vec<u8> {
    let noise = |length: usize| -> Vec<u8> {
        (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
    };
    let zip = zip.part("_rels/.rels", b"<Relationships/>").stored("media/a.png", &noise(before));
    let zip = zip.part("[Content_Types].xml", content_types(main).as_bytes());
    zip.stored("media/b.png", &noise(after)).end(b"")
}

#[test]
fn office_files_are_told_whatever_the_order_of_their_parts_and_their_size() {
    let main = format!("{WORD}.main+xml");
    for (before, after) in
        [(0, 0), (1000, 0), (0, 6000), (40_000, 10), (10, 2_000_000), (2_000_000, 9)]
    {
        for (streamed, large) in [(false, false), (true, false), (false, true), (true, true)] {
            let zip = Zip { streamed, large, ..Zip::default() };
            assert_eq!(of(office(&main, zip, before, after)), WORD, "{before} {after} {large}");
        }
    }
}

const WITH_MACROS: [(&str, &str); 6] = [
    (
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.ms-word.document.macroEnabled.12",
    ),
    (
        "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
        "application/vnd.ms-word.template.macroEnabled.12",
    ),
    (
        "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
        "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
    ),
    (
        "application/vnd.ms-excel.addin.macroEnabled.main+xml",
        "application/vnd.ms-excel.addin.macroEnabled.12",
    ),
    (
        "application/vnd.ms-powerpoint.template.macroEnabled.main+xml",
        "application/vnd.ms-powerpoint.template.macroEnabled.12",
    ),
    (
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml",
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
    ),
];

#[test]
fn templates_and_files_with_macros_have_types_of_their_own() {
    for (main, media_type) in WITH_MACROS {
        assert_eq!(of(office(main, Zip::default(), 10, 10)), media_type);
    }
    for kind in [
        "wordprocessingml.template",
        "spreadsheetml.sheet",
        "presentationml.slideshow",
        "presentationml.presentation",
    ] {
        let media_type = format!("application/vnd.openxmlformats-officedocument.{kind}");
        assert_eq!(
            of(office(&format!("{media_type}.main+xml"), Zip::default(), 10, 10)),
            media_type
        );
    }
    assert_eq!(
        of(office("application/vnd.ms-package.xps-fixeddocument+xml", Zip::default(), 9, 9)),
        ZIP
    );
}

#[test]
fn open_documents_and_books_are_told_by_mimetype_wherever_it_is() {
    let types = [
        TEXT,
        "application/vnd.oasis.opendocument.spreadsheet-template",
        "application/epub+zip",
        "image/openraster",
    ];
    for media_type in types {
        let first = Zip::default().stored("mimetype", media_type.as_bytes());
        assert_eq!(of(first.part("content.xml", b"<x/>").end(b"")), media_type);
        let last = Zip::default().stored("content.xml", &vec![b'x'; 50_000]);
        assert_eq!(
            of(last.part("mimetype", format!("{media_type}\r\n").as_bytes()).end(b"")),
            media_type
        );
    }
    let manifest = format!(r#"<m:file-entry m:full-path="/" m:media-type="{TEXT}"/>"#);
    assert_eq!(
        of(Zip::default().part("META-INF/manifest.xml", manifest.as_bytes()).end(b"")),
        TEXT
    );
    assert_eq!(of(Zip::default().stored("mimetype", b"text/html").end(b"")), ZIP);
}

#[test]
fn other_archives_are_archives() {
    assert_eq!(of(Zip::default().end(b"")), ZIP);
    assert_eq!(of(Zip::default().part("META-INF/MANIFEST.MF", b"x").end(b"")), ZIP);
    assert_eq!(of(Zip::default().part("word/document.xml", b"x").end(b"")), ZIP);
    let types = content_types(&format!("{WORD}.main+xml"));
    assert_eq!(of(Zip::default().part("x/[Content_Types].xml", types.as_bytes()).end(b"")), ZIP);
    // By its name alone, where what names the type is packed in another way.
    let odd = Zip::default().put("[Content_Types].xml", 9, b"?", 1).part("xl/workbook.xml", b"x");
    assert_eq!(of(odd.end(b"")), EXCEL);
}

#[test]
fn comments_and_what_comes_before_an_archive_do_not_hide_it() {
    let types = content_types(&format!("{EXCEL}.main+xml"));
    let zip = || Zip::default().part("[Content_Types].xml", types.as_bytes());
    assert_eq!(of(zip().end(&vec![b'c'; 65_535])), EXCEL);
    assert_eq!(of(zip().end(b"PK\x05\x06 is how it ends")), EXCEL);
    assert_eq!(of([vec![b's'; 70_000], zip().end(b"")].concat()), EXCEL);
    assert_eq!(of([zip().end(b""), vec![0; 100]].concat()), EXCEL);
}

#[test]
fn an_archive_that_lies_costs_no_more_than_another() {
    let main = format!("{WORD}.main+xml");
    let whole = office(&main, Zip::default(), 10, 10);
    let end = whole.len() - 22;
    for (place, lie) in
        [(end + 12, [0xff; 4]), (end + 16, [0xff; 4]), (end + 12, [0; 4]), (end + 16, [1, 0, 0, 0])]
    {
        let mut lying = whole.clone();
        lying[place..place + 4].copy_from_slice(&lie);
        let _ = of(lying);
    }
    // A bomb: what it unpacks to is cut.
    let bomb = Zip::default().part("[Content_Types].xml", &vec![b' '; 50_000_000]);
    assert_eq!(of(bomb.end(b"")), ZIP);
    let late = [vec![b' '; 300_000], content_types(&main).into_bytes()].concat();
    let late = Zip::default().part("[Content_Types].xml", &late).part("word/document.xml", b"x");
    assert_eq!(of(late.end(b"")), WORD, "by the name of its main part");
    // Very many parts: those past the bound are not looked at.
    let many = |zip: Zip| (0..20_000).fold(zip, |zip, n| zip.stored(&format!("{n:0>30}"), b""));
    let types = content_types(&main);
    assert_eq!(
        of(many(Zip::default()).part("[Content_Types].xml", types.as_bytes()).end(b"")),
        ZIP
    );
    assert_eq!(
        of(many(Zip::default().part("[Content_Types].xml", types.as_bytes())).end(b"")),
        WORD
    );
    // Sizes of all ones without what would say more.
    let large = Zip { large: true, ..Zip::default() }.part("mimetype", TEXT.as_bytes());
    let mut bytes = large.end(b"");
    let locator = bytes.windows(4).rposition(|it| it == b"PK\x06\x07").unwrap();
    bytes[locator + 8..locator + 16].fill(0xff);
    let _ = of(bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_an_archive_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = of([b"PK\x03\x04".to_vec(), bytes].concat());
    }

    #[test]
    fn whatever_is_broken_is_survived(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        large: bool,
        cut in any::<prop::sample::Index>(),
    ) {
        let zip = Zip { large, ..Zip::default() };
        let mut bytes = office(&format!("{WORD}.main+xml"), zip, 50, 50);
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = of(bytes);
    }
}

#[test]
fn a_part_that_lies_behind_every_file_is_none() {
    let mut zip = Zip { large: true, ..Zip::default() }.part("mimetype", TEXT.as_bytes()).end(b"");
    assert_eq!(of(zip.clone()), TEXT);
    // The place of the part in the extra field of its entry, after its two lengths.
    let entry = zip.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
    let place = entry + 46 + "mimetype".len() + 4 + 16;
    for behind in [u64::MAX, u64::MAX - 29, u64::MAX / 2, zip.len() as u64 - 29] {
        zip[place..place + 8].copy_from_slice(&behind.to_le_bytes());
        assert_eq!(of(zip.clone()), ZIP, "{behind}");
    }
}

/// The type of a file is told from any bytes.
#[test]
fn fuzz_files() {
    let words = [
        "PK\x01\x02",
        "PK\x03\x04",
        "PK\x05\x06",
        "PK\x06\x06",
        "PK\x06\x07",
        "\x7f\x7f\x7f\x7f",
        "\0\0\0\0",
        "\x01\0\x10\0",
        "[Content_Types].xml",
        "mimetype",
        "META-INF/manifest.xml",
        "%PDF-",
        "MZ",
        "BM",
        "ID3",
        "\x1b",
        "\u{fffd}",
    ];
    crate::fuzzing::fuzz("files", &words, |input| {
        let head = &input[..input.len().min(crate::domain::media_type::HEAD)];
        let named = crate::domain::media_type::sniff(head, input.len() as u64);
        assert!(named.contains('/'), "{named}");
        // The directory of an archive may be anywhere in it.
        assert!(of(input.to_vec()).contains('/'));
    });
}
