//! Emoji, as reactions: one grapheme (UAX #29) of characters that make up emoji (UTS #51).

use std::fmt;

use unicode_properties::UnicodeEmoji;
use unicode_segmentation::UnicodeSegmentation;

use super::text::Violation;

/// The longest sequences in use are families and subdivision flags, of about ten characters.
const MAX_CHARS: usize = 32;

/// Asks for the coloured form of a character; with it or without, it is the same emoji.
const VS16: char = '\u{FE0F}';

/// One emoji, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emoji(String);

impl Emoji {
    /// Checks that the text is one emoji. A digit, `#` or `*` alone is none, though Unicode gives
    /// them the property: only as a keycap they are.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let broken = Violation { code: "invalid_format", message: "must be one emoji" };
        let mut graphemes = text.graphemes(true);
        let (Some(_), None) = (graphemes.next(), graphemes.next()) else { return Err(broken) };
        let is_emoji = text.chars().count() <= MAX_CHARS
            && text.chars().all(is_part)
            && !text.ends_with('\u{200D}')
            && text.chars().any(|c| c.is_emoji_char() && (!c.is_ascii() || has_keycap(text)));
        if is_emoji { Ok(Self(text.to_owned())) } else { Err(broken) }
    }

    /// The emoji as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is the same for the same emoji.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An emoji without what does not tell it from others.
#[must_use]
pub fn fold(emoji: &str) -> String {
    emoji.chars().filter(|c| *c != VS16).collect()
}

fn has_keycap(text: &str) -> bool {
    text.contains('\u{20E3}')
}

/// Emoji, what joins and varies them, the keycap and the tags of flags.
fn is_part(c: char) -> bool {
    c.is_emoji_char() || matches!(c, VS16 | '\u{200D}' | '\u{20E3}' | '\u{E0020}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_is_one_grapheme_with_the_property() {
        let good = [
            "👍",
            "❤",
            "❤\u{FE0F}",
            "👍🏽",
            "👩‍👩‍👧‍👦",
            "🇩🇪",
            "1\u{FE0F}\u{20E3}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "©",
        ];
        for emoji in good {
            assert!(Emoji::parse(emoji).is_ok(), "{emoji}");
        }
        let zalgo = format!("👍{}", "\u{0301}".repeat(4));
        let long = format!("👩{}", "\u{200D}👩".repeat(40));
        for bad in [
            "",
            "a",
            "1",
            "#",
            "👍👍",
            "👍a",
            " 👍",
            "é",
            "👍\u{200D}",
            "\u{FE0F}",
            "\u{200D}",
            "<b>",
            &zalgo,
            &long,
        ] {
            assert!(Emoji::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variation_selectors_do_not_tell_emoji_apart() {
        let folded = |text| Emoji::parse(text).map(|emoji| emoji.folded());
        assert_eq!(folded("❤\u{FE0F}"), folded("❤"));
        assert_ne!(folded("❤"), folded("💔"));
    }
}
