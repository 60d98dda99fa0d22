//! The media type of a file, told from its bytes alone: what a client says of it is not believed.

use super::archives::ZIP;

/// How many of a file's first bytes tell its type.
pub const HEAD: usize = 8 * 1024;

/// What is not known to be anything else (RFC 2046 §4.5.1).
pub const UNKNOWN: &str = "application/octet-stream";

const TEXT: &str = "text/plain; charset=utf-8";

/// Formats whose files may be nothing but text. All others have control characters in their first
/// bytes: what has none there begins like one of them by chance.
const TEXTUAL: [&str; 7] = [
    "application/pdf",
    "application/postscript",
    "application/rtf",
    "application/x-unix-archive",
    "application/x-x509-ca-cert",
    "text/html",
    "text/xml",
];

/// The images that are shown in place, have previews and can be someone's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    WebP,
}

impl Image {
    /// Which image a media type is; `None` for all else.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "image/png" => Some(Self::Png),
            "image/jpeg" => Some(Self::Jpeg),
            "image/gif" => Some(Self::Gif),
            "image/webp" => Some(Self::WebP),
            _ => None,
        }
    }
}

/// The media type of a file of `size` bytes that begins with `head` (its first [`HEAD`] bytes, or
/// all of it). A zip archive is [`ZIP`], whatever is in it: see
/// [`archives`](super::archives::type_of).
#[must_use]
pub fn sniff(head: &[u8], size: u64) -> &'static str {
    let unknown = || if is_text(head, size > head.len() as u64) { TEXT } else { UNKNOWN };
    if is_zip(head) {
        return ZIP;
    }
    match infer::get(head).map(|kind| kind.mime_type()) {
        Some(named) if is_really(named, head) => named,
        _ => unknown(),
    }
}

/// Whether it begins as archives do: with a part, with the end where there is none, or with the
/// mark of one that was split.
fn is_zip(head: &[u8]) -> bool {
    let marks: [&[u8]; 4] = [b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK", b"PK00PK\x03\x04"];
    marks.iter().any(|mark| head.starts_with(mark))
}

/// Whether more of a format's header holds than the two or three characters that it was told by.
fn is_really(named: &str, head: &[u8]) -> bool {
    let has_controls = head.iter().any(|byte| byte.is_ascii_control() && !is_white(*byte));
    match named {
        "application/postscript" => head.starts_with(b"%!PS"),
        "application/pdf" => has_controls || head.trim_ascii_start().starts_with(b"%PDF-"),
        "text/x-shellscript" => true,
        _ if !has_controls => TEXTUAL.contains(&named),
        // The length of the second header (`BITMAPCOREHEADER` to `BITMAPV5HEADER`).
        "image/bmp" => {
            let length = head.get(14..18);
            length
                .is_some_and(|it| matches!(it, [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
        }
        "application/vnd.microsoft.portable-executable" => is_executable(head).unwrap_or(false),
        "application/x-llvm" => head.starts_with(b"BC\xc0\xde"),
        // Either of two frames, or a tag with its version and a length of seven bits a byte.
        "audio/mpeg" if head.starts_with(b"ID3") => {
            let length = head.get(6..10).is_some_and(|it| it.iter().all(u8::is_ascii));
            length && head.get(3).is_some_and(|version| (2..=4).contains(version))
        }
        _ => true,
    }
}

/// Whether the second header is where the first one says (PE format, "MS-DOS stub").
fn is_executable(head: &[u8]) -> Option<bool> {
    let place = u32::from_le_bytes(head.get(0x3c..0x40)?.try_into().ok()?);
    Some(head.get(usize::try_from(place).ok()?..)?.starts_with(b"PE\0\0"))
}

/// White space and what text files hold beside it: form feed, and what begins a colour.
fn is_white(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x1b')
}

/// UTF-8 without control characters other than white space; `cut`: the last character may be.
fn is_text(head: &[u8], cut: bool) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !u8::try_from(c).is_ok_and(is_white))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> &'static str {
        sniff(bytes, bytes.len() as u64)
    }

    #[test]
    fn only_the_bytes_tell_the_type() {
        assert_eq!(of(b"\x89PNG\r\n\x1a\n"), "image/png");
        assert_eq!(of(b"GIF89a/*\x01\0*/=1;alert(1)"), "image/gif");
        assert_eq!(of(b"%PDF-1.7\n"), "application/pdf");
        assert_eq!(of(b"<!DOCTYPE html><script>alert(1)</script>"), "text/html");
        assert_eq!(of(b"<?xml version=\"1.0\"?><svg/>"), "text/xml");
        assert_eq!(of(b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), TEXT);
        assert_eq!(of("päper".as_bytes()), TEXT);
        assert_eq!(of(b"p\xe4per"), UNKNOWN);
        assert_eq!(of(b"a\0b"), UNKNOWN);
    }

    #[test]
    fn text_that_begins_like_something_else_is_text() {
        let beginnings = [
            "BM", "MZ", "GIF", "GIF89a", "PK", "%!", "ID3", "BC", "FWS", "CWS", "BZh", "Rar!",
            "OggS", "fLaC", "MThd", "SQLi", "MAC ", "DSD ", "FORM", "Cr24", "NES", "MSCF", "QFI",
            "II*", "8BPS", "wOFF", "OTTO", "FLV", "LZIP", "07070100", "7z", "RIFF",
        ];
        for beginning in beginnings {
            for rest in ["", " ", ": notes of Monday\n", &"längere Notizen ".repeat(2000)] {
                let text = format!("{beginning}{rest}");
                assert_eq!(of(text.as_bytes()), TEXT, "{text:.20}");
            }
            let latin = [beginning.as_bytes(), b" f\xfcr Montag"].concat();
            assert_eq!(of(&latin), UNKNOWN, "{beginning}");
        }
        assert_eq!(of(b"%PDF is a format, as in %PDF-1.4"), TEXT);
        assert_eq!(of(b"see %PDF-1.4"), TEXT);
        assert_eq!(of(b"%!PS-Adobe-3.0\n"), "application/postscript");
        assert_eq!(of(b"{\\rtf1 hello}"), "application/rtf");
    }

    #[test]
    fn a_short_mark_needs_the_rest_of_its_header() {
        let mut bitmap = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        assert_eq!(of(&bitmap), "image/bmp");
        bitmap[14] = 0x29;
        assert_eq!(of(&bitmap), UNKNOWN);
        let mut program = vec![0; 0x84];
        program[..2].copy_from_slice(b"MZ");
        assert_eq!(of(&program), UNKNOWN);
        program[0x3c] = 0x80;
        program[0x80..].copy_from_slice(b"PE\0\0");
        assert_eq!(of(&program), "application/vnd.microsoft.portable-executable");
        program[0x3f] = 0xff;
        assert_eq!(of(&program), UNKNOWN);
        assert_eq!(of(b"ID3\x04\0\0\0\0\x02\x01TIT2"), "audio/mpeg");
        assert_eq!(of(b"ID3\x04\0\0\0\0\xff\x01TIT2"), UNKNOWN);
        assert_eq!(of(b"BC\xc0\xde\0"), "application/x-llvm");
        assert_eq!(of(b"BC\0\0"), UNKNOWN);
    }

    proptest! {
        #[test]
        fn text_is_never_taken_for_what_has_controls(text in "[^\\p{Cc}<{%#!-]\\PC{0,200}") {
            prop_assert_eq!(of(text.as_bytes()), TEXT);
        }
    }

    #[test]
    fn a_character_may_be_cut_only_where_the_file_goes_on() {
        assert_eq!(sniff(b"p\xc3", 100), TEXT);
        assert_eq!(sniff(b"p\xc3", 2), UNKNOWN);
        assert_eq!(sniff(b"p\xff", 100), UNKNOWN);
    }
}
