//! The media type of a file, told from its bytes alone: what a client says of it is not believed.

/// How many of a file's first bytes tell its type.
pub const HEAD: usize = 8 * 1024;

/// What is not known to be anything else (RFC 2046 §4.5.1).
pub const UNKNOWN: &str = "application/octet-stream";

const TEXT: &str = "text/plain; charset=utf-8";

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
/// all of it).
#[must_use]
pub fn sniff(head: &[u8], size: u64) -> &'static str {
    match infer::get(head) {
        Some(kind) => kind.mime_type(),
        None if is_text(head, size > head.len() as u64) => TEXT,
        None => UNKNOWN,
    }
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
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
}

#[cfg(test)]
mod tests {
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
    fn a_character_may_be_cut_only_where_the_file_goes_on() {
        assert_eq!(sniff(b"p\xc3", 100), TEXT);
        assert_eq!(sniff(b"p\xc3", 2), UNKNOWN);
        assert_eq!(sniff(b"p\xff", 100), UNKNOWN);
    }
}
