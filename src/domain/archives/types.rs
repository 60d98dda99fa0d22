//! The media types of files that are zip archives, by what their parts say.

/// An archive that is nothing else.
pub const ZIP: &str = "application/zip";

const EPUB: &str = "application/epub+zip";
const ORA: &str = "image/openraster";

/// The content types of main parts in Office Open XML without their ending `.main+xml` (of
/// [`BINARY`], `.main`), with the media type of the file: both as registered by IANA.
const OFFICE: [(&str, &str); 14] = [
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ),
    (
        "application/vnd.ms-word.document.macroenabled",
        "application/vnd.ms-word.document.macroEnabled.12",
    ),
    (
        "application/vnd.ms-word.template.macroenabledtemplate",
        "application/vnd.ms-word.template.macroEnabled.12",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    ),
    (
        "application/vnd.ms-excel.sheet.macroenabled",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
    ),
    (
        "application/vnd.ms-excel.template.macroenabled",
        "application/vnd.ms-excel.template.macroEnabled.12",
    ),
    (
        "application/vnd.ms-excel.addin.macroenabled",
        "application/vnd.ms-excel.addin.macroEnabled.12",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.template",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
    ),
    (
        "application/vnd.ms-powerpoint.presentation.macroenabled",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
    ),
    (
        "application/vnd.ms-powerpoint.slideshow.macroenabled",
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
    ),
];

/// The same of further kinds, each once.
const MORE_OFFICE: [(&str, &str); 3] = [
    (
        "application/vnd.ms-powerpoint.template.macroenabled.main+xml",
        "application/vnd.ms-powerpoint.template.macroEnabled.12",
    ),
    (
        "application/vnd.ms-powerpoint.addin.macroenabled.main+xml",
        "application/vnd.ms-powerpoint.addin.macroEnabled.12",
    ),
    (BINARY, "application/vnd.ms-excel.sheet.binary.macroEnabled.12"),
];

const BINARY: &str = "application/vnd.ms-excel.sheet.binary.macroenabled.main";

/// The types of `OpenDocument` 1.3 (part 2, appendix), of EPUB and of `OpenRaster`, as `mimetype`
/// holds them.
const MIMETYPES: [&str; 18] = [
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.text-template",
    "application/vnd.oasis.opendocument.text-master",
    "application/vnd.oasis.opendocument.text-master-template",
    "application/vnd.oasis.opendocument.text-web",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.spreadsheet-template",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.presentation-template",
    "application/vnd.oasis.opendocument.graphics",
    "application/vnd.oasis.opendocument.graphics-template",
    "application/vnd.oasis.opendocument.chart",
    "application/vnd.oasis.opendocument.chart-template",
    "application/vnd.oasis.opendocument.formula",
    "application/vnd.oasis.opendocument.image",
    "application/vnd.oasis.opendocument.base",
    EPUB,
    ORA,
];

/// By `[Content_Types].xml`: it names the type of the main part. A file that is embedded in another
/// has a type without the ending.
pub(super) fn of_content_types(text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let is_main = |kind: &str| text.contains(&format!("{kind}.main+xml"));
    let main = OFFICE.iter().find(|(kind, _)| is_main(kind));
    let more = || MORE_OFFICE.iter().find(|(kind, _)| text.contains(kind));
    main.or_else(more).map(|(_, media_type)| *media_type)
}

/// By the name of a part that only one kind of Office Open XML has.
pub(super) fn of_main_part(name: &[u8]) -> Option<&'static str> {
    Some(match name {
        b"word/document.xml" => OFFICE[0].1,
        b"xl/workbook.xml" => OFFICE[4].1,
        b"ppt/presentation.xml" => OFFICE[9].1,
        _ => return None,
    })
}

/// By `mimetype`, which holds nothing else.
pub(super) fn of_mimetype(text: &[u8]) -> Option<&'static str> {
    MIMETYPES.into_iter().find(|named| text.trim_ascii() == named.as_bytes())
}

/// By `META-INF/manifest.xml`: it names the type of the whole first.
pub(super) fn of_manifest(text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let begin = text.find("application/vnd.oasis.opendocument.")?;
    let named = text[begin..].split(['"', '\'']).next()?;
    of_mimetype(named.as_bytes())
}
