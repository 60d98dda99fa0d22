//! Cutting text where people see one character end and the next begin (UAX 29).

use unicode_segmentation::UnicodeSegmentation;

/// The longest beginning of a text that ends between graphemes and is no longer than `most`, as
/// `length` measures it. Where not even the first grapheme fits, as much of that as does.
fn beginning(text: &str, most: usize, length: impl Fn(&str) -> usize) -> &str {
    let fitting = |parts: &mut dyn Iterator<Item = &str>| {
        let mut end = 0;
        let mut left = most;
        for part in parts {
            let Some(rest) = left.checked_sub(length(part)) else { break };
            (left, end) = (rest, end + part.len());
        }
        end
    };
    let end = match fitting(&mut text.graphemes(true)) {
        0 => fitting(&mut text.split_inclusive(|_| true)),
        end => end,
    };
    &text[..end]
}

/// At most so many characters (Unicode scalar values) of a text.
#[must_use]
pub fn chars(text: &str, most: usize) -> &str {
    beginning(text, most, |part| part.chars().count())
}

/// At most so many bytes of a text.
#[must_use]
pub fn bytes(text: &str, most: usize) -> &str {
    beginning(text, most, str::len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAMILY: &str = "👩\u{200D}👩\u{200D}👧";

    #[test]
    fn no_grapheme_is_cut() {
        assert_eq!(chars("hello", 5), "hello");
        assert_eq!(chars("hello", 4), "hell");
        assert_eq!(chars(&format!("ab{FAMILY}c"), 6), "ab");
        assert_eq!(chars(&format!("ab{FAMILY}c"), 7), format!("ab{FAMILY}"));
        assert_eq!(chars("e\u{301}e\u{301}", 3), "e\u{301}");
        assert_eq!(chars("🇩🇪🇫🇷", 3), "🇩🇪");
        assert_eq!(chars("नमस्ते", 3), "नम");
        assert_eq!(bytes(&format!("a{FAMILY}"), 18), "a");
    }

    #[test]
    fn a_grapheme_without_end_is_cut_between_characters() {
        let stacked = format!("e{}", "\u{301}".repeat(500));
        assert_eq!(chars(&stacked, 140).chars().count(), 140);
        assert_eq!(bytes(&stacked, 254).len(), 253);
        assert_eq!(chars("é", 0), "");
    }

    proptest! {
        #[test]
        fn as_much_is_kept_as_fits(text in "\\PC{0,60}", most in 0_usize..70) {
            let cut = chars(&text, most);
            prop_assert!(text.starts_with(cut) && cut.chars().count() <= most);
            let next = text[cut.len()..].graphemes(true).next().unwrap_or_default();
            let is_full = next.is_empty() || (cut.to_owned() + next).chars().count() > most;
            prop_assert!(is_full);
        }
    }
}
