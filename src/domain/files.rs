//! Files as they are stored: their names, their limits, and their previews.

use super::attachments::Attachment;
use super::graphemes;
use super::ids::UserId;

/// The most bytes that a file may have.
pub const MAX_SIZE: u64 = 5 * 1024 * 1024;

/// The most bytes that all files of a message may have together.
pub const MAX_TOGETHER: u64 = 5 * 1024 * 1024;

/// The most pixels that an image may have.
pub const MAX_PIXELS: u64 = 40_000_000;

/// The most bytes that the name of a file may have.
const MAX_NAME: usize = 255;

/// The longest extension, its dot included, that outlives the cutting of a long name.
const MAX_EXTENSION: usize = 32;

/// What a client calls its file, made harmless: the last component of a path, without control
/// characters and bidirectional overrides, at most 255 bytes, never empty. All else stays: joiners
/// make up words (Persian, the languages of India) and emoji.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filename(String);

impl Filename {
    /// Takes what is usable of any text. What is too long keeps its extension.
    #[must_use]
    pub fn clean(given: &str) -> Self {
        let name: String = given.chars().filter(|c| !c.is_control() && !is_override(*c)).collect();
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        match name.trim() {
            "" | "." | ".." => Self("file".to_owned()),
            _ => Self(shorten(name)),
        }
    }

    /// The name.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Embeddings, overrides and isolates of the direction of writing, and what ends them (UAX 9): by
/// these a name looks like another one. Marks of a direction (LRM, RLM, ALM) turn nothing around.
fn is_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Cut between graphemes, before the extension.
fn shorten(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let extension = name.rfind('.').filter(|dot| *dot > 0).map_or("", |dot| &name[dot..]);
    let extension = if extension.len() <= MAX_EXTENSION { extension } else { "" };
    let stem = &name[..name.len() - extension.len()];
    format!("{}{extension}", graphemes::bytes(stem, MAX_NAME - extension.len()))
}

/// Which of the two files of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendition {
    /// What was uploaded.
    Original,
    /// The small picture of it.
    Thumbnail,
}

/// What is known of a stored preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Its media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
}

/// A file that is completely stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFile {
    /// Who uploaded it.
    pub uploader: UserId,
    /// How clients see it.
    pub attachment: Attachment,
    /// Its preview, if it is an image that could be decoded.
    pub preview: Option<Preview>,
    /// Bytes of each stored chunk but the last.
    pub chunk_size: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clean(given: &str) -> String {
        Filename::clean(given).into_string()
    }

    #[test]
    fn directories_are_lost() {
        assert_eq!(clean("../../etc/passwd"), "passwd");
        assert_eq!(clean("C:\\Users\\ada\\a.txt"), "a.txt");
        assert_eq!(clean("a\\b/c.txt"), "c.txt");
        for nothing in ["", "/", "a/", ".", "..", "a/..", " ", "\0", "\u{202e}"] {
            assert_eq!(clean(nothing), "file", "{nothing:?}");
        }
    }

    #[test]
    fn what_deceives_is_lost() {
        assert_eq!(clean("a\r\nSet-Cookie: x=1\0.txt"), "aSet-Cookie: x=1.txt");
        assert_eq!(clean("invoice\u{202e}gpj.exe"), "invoicegpj.exe");
        assert_eq!(clean("a\u{202a}b\u{2066}c\u{2069}d\u{85}e\u{7f}"), "abcde");
        assert_eq!(clean(".\u{202e}./x"), "x");
        assert_eq!(clean(".\u{202e}."), "file");
        assert_eq!(clean("<b>\"ä\".svg"), "<b>\"ä\".svg");
    }

    #[test]
    fn all_else_is_kept() {
        let names = [
            "می\u{200C}خواهم.pdf",
            "क्\u{200D}ष.txt",
            "👩\u{200D}👧.png",
            "\u{200E}a\u{200F}b\u{61C}.txt",
            " two  spaces .txt ",
            "a\u{FEFF}\u{200B}\u{2060}\u{AD}.txt",
            "\u{2028}.txt",
            "…",
        ];
        for name in names {
            assert_eq!(clean(name), name);
            assert_eq!(clean(&format!("C:\\x/{name}")), name);
        }
        assert_eq!(clean(" \u{3000} "), "file");
    }

    #[test]
    fn long_names_are_cut_between_graphemes() {
        let family = "👩\u{200D}👩\u{200D}👧\u{200D}👦";
        let cut = clean(&format!("{}.png", family.repeat(20)));
        assert_eq!(cut, format!("{}.png", family.repeat(10)));
        assert_eq!(clean(&format!("a{}", "\u{301}".repeat(400))).len(), 255);
    }

    #[test]
    fn long_names_keep_their_extension() {
        let cut = clean(&format!("{}.tar.gz", "ä".repeat(200)));
        assert!(cut.len() > 250 && cut.len() <= 255, "{}", cut.len());
        assert_eq!(cut.strip_suffix(".gz").map(|stem| stem.trim_end_matches('ä')), Some(""));
        assert_eq!(clean(&format!("a.{}", "x".repeat(300))).len(), 255);
        assert_eq!(clean(&"x".repeat(255)), "x".repeat(255));
    }

    proptest! {
        #[test]
        fn any_name_becomes_harmless_and_stays_so(given in any::<String>(), times in 1_usize..40) {
            let name = clean(&given.repeat(times));
            prop_assert!((1..=255).contains(&name.len()));
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
            prop_assert_eq!(clean(&name), name);
        }
    }
}
