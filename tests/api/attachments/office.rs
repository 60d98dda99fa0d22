//! Office files: told whatever wrote them, in whatever order and of whatever size.

use super::{LIMIT, fetch, noise, upload};
use crate::support::TestApp;

const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const EXCEL: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const SLIDES: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";

/// What libraries of Python write: python-docx 1.2.0, openpyxl 3.1.5, python-pptx 1.0.2, odfpy
/// 1.4.1.
const WRITTEN: [(&str, &[u8], &str); 6] = [
    ("a.docx", include_bytes!("files/python-docx.docx"), WORD),
    ("a.xlsx", include_bytes!("files/openpyxl.xlsx"), EXCEL),
    ("a.pptx", include_bytes!("files/python-pptx.pptx"), SLIDES),
    ("a.odt", include_bytes!("files/odfpy.odt"), "application/vnd.oasis.opendocument.text"),
    ("a.ods", include_bytes!("files/odfpy.ods"), "application/vnd.oasis.opendocument.spreadsheet"),
    ("a.odp", include_bytes!("files/odfpy.odp"), "application/vnd.oasis.opendocument.presentation"),
];

/// An archive of parts as they are.
fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let number = |it: usize| u32::try_from(it).expect("a small number").to_le_bytes();
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in parts {
        let sizes = [[0; 4], number(content.len()), number(content.len()), number(name.len())];
        let common = [[20, 0, 0, 0], [0; 4], [0; 4]].concat();
        let common = [&common[..10], &sizes.concat()].concat();
        let at = number(bytes.len());
        bytes.extend([b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0", common.as_slice(), &[0; 10], &at].concat());
        directory.extend(name.as_bytes());
    }
    let count = number(parts.len());
    let end = [number(directory.len()), number(bytes.len())].concat();
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..2], &count[..2], &end, &[0, 0]].concat());
    bytes
}

/// As Word and Excel write it: content types first, the main part after others that grow.
fn office(main: &str, media_type: &str, size: usize) -> Vec<u8> {
    let types = format!(
        r#"<?xml version="1.0"?><Types><Override PartName="/{main}" ContentType="{media_type}.main+xml"/></Types>"#
    );
    archive(&[
        ("[Content_Types].xml", types.as_bytes()),
        ("_rels/.rels", b"<Relationships/>"),
        ("media/image1.png", &noise(size)),
        (main, b"<document/>"),
    ])
}

#[tokio::test]
async fn office_files_have_their_own_types() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (name, bytes, media_type) in WRITTEN {
        let sent = upload(&alice, name, bytes).await;
        assert_eq!(sent["content_type"], media_type, "{name}");
        let got = fetch(&alice, &sent, "url").await;
        assert_eq!(got.header("content-type"), media_type);
        assert!(got.header("content-disposition").starts_with("attachment;"), "{name}");
        assert!(got.body == bytes, "{name}: other bytes");
    }
    for size in [1024, 6 * 1024, 40 * 1024, 2 * 1024 * 1024, LIMIT - 1000] {
        for (main, media_type) in [("word/document.xml", WORD), ("xl/workbook.xml", EXCEL)] {
            let sent = upload(&alice, "a.zip", office(main, media_type, size)).await;
            assert_eq!(sent["content_type"], media_type, "{size}");
        }
    }
    let plain = archive(&[("word/notes.txt", &noise(300_000)), ("xl/a", b"a")]);
    assert_eq!(upload(&alice, "a.docx", plain).await["content_type"], "application/zip");
    let book = archive(&[("a", &noise(300_000)), ("mimetype", b"application/epub+zip")]);
    assert_eq!(upload(&alice, "a.epub", book).await["content_type"], "application/epub+zip");
}

#[tokio::test]
async fn text_is_text_whatever_it_begins_with() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for text in
        ["BM: notes of Monday", "MZ", "GIF or PNG?", "PK", "%! how", "ID3 tags", "BMW fährt\n"]
    {
        let sent = upload(&alice, "a.bmp", text).await;
        assert_eq!(sent["content_type"], "text/plain; charset=utf-8", "{text}");
    }
}

#[tokio::test]
async fn names_keep_joiners_and_lose_what_turns_them_around() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let family = "👩\u{200D}👩\u{200D}👧\u{200D}👦";
    let cases = [
        ("می\u{200C}خواهم.txt", "می\u{200C}خواهم.txt"),
        ("क्\u{200D}ष \u{200E}x.txt", "क्\u{200D}ष \u{200E}x.txt"),
        ("invoice\u{202E}txt.exe", "invoicetxt.exe"),
        ("a\u{2066}b\u{2069}\u{85}.txt", "ab.txt"),
        (&format!("{}.txt", family.repeat(12)), &format!("{}.txt", family.repeat(10))),
    ];
    for (given, kept) in cases {
        let sent = upload(&alice, given, "text").await;
        assert_eq!(sent["filename"], kept);
        let got = fetch(&alice, &sent, "url").await;
        let full = got.header("content-disposition").split("filename*=UTF-8''").nth(1);
        let full = percent_encoding::percent_decode_str(full.expect("it")).decode_utf8();
        assert_eq!(full.expect("UTF-8"), kept);
    }
}
