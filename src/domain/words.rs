//! Words, as messages are searched by them: Unicode's (UAX #29), without case and diacritics.
//!
//! A word only ever leaves here as a hash or to be compared, so that nothing in a text or a query
//! (`$ne`, `.*`, quotes) can mean anything but itself.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use super::text::Violation;

/// So many bytes of a word count; what begins alike for so long is the same word.
const MAX_BYTES: usize = 64;

/// Fewest and most characters of a query.
const QUERY: (usize, usize) = (2, 200);

/// What someone looks for: words that a message must all have, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(BTreeSet<String>);

impl Words {
    /// The words of a query of 2 to 200 characters; there may be none in it.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(query: &str) -> Result<Self, Violation> {
        let broken = |code, message| Err(Violation { code, message });
        match query.chars().count() {
            length if length < QUERY.0 => broken("too_short", "at least 2 characters"),
            length if length > QUERY.1 => broken("too_long", "at most 200 characters"),
            _ => Ok(Self(units(&normalised(query)).map(cut).collect())),
        }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text has all of them.
    #[must_use]
    pub fn are_in(&self, text: &str) -> bool {
        self.0.is_subset(&found_by(text))
    }

    /// Their hashes, the longest word's first.
    #[must_use]
    pub fn hashes(&self) -> Vec<i64> {
        let mut words: Vec<&String> = self.0.iter().collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
        words.into_iter().map(|word| hash(word)).collect()
    }

    /// What is the same for queries that ask for the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// Hashes of all words by which a text is found, each once.
#[must_use]
pub fn hashes_of(text: &str) -> BTreeSet<i64> {
    found_by(text).iter().map(|word| hash(word)).collect()
}

/// All words by which a text is found. One that holds punctuation, as `don't` and `example.com`
/// do, is found whole and by its parts.
fn found_by(text: &str) -> BTreeSet<String> {
    let text = normalised(text);
    let mut words = BTreeSet::new();
    for unit in units(&text) {
        let parts = unit.split(|c: char| c.is_ascii_punctuation());
        words.extend(parts.filter(|part| !part.is_empty()).map(cut));
        words.insert(cut(unit));
    }
    words
}

/// The words of a normalised text, and each symbol that is not ASCII, such as emoji.
fn units(normalised: &str) -> impl Iterator<Item = &str> {
    let is_symbol =
        |c: char| !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Symbol;
    let units = normalised.split_word_bounds();
    units.filter(move |unit| unit.chars().any(|c| c.is_alphanumeric() || is_symbol(c)))
}

/// Compatibility forms taken apart (NFKD), diacritics and case gone.
fn normalised(text: &str) -> String {
    // These would grow together with the word before them.
    let apart = text.chars().map(|c| if matches!(c, '™' | '℠') { ' ' } else { c });
    apart.nfkd().filter(|c| !is_dropped(*c)).flat_map(folded).collect()
}

/// Diacritics and vowel points, by their combining class (UAX #44), but not what tells letters
/// apart: voicing marks of kana, viramas, vowels and tones of Thai, Lao, Tibetan. Selectors of
/// emoji, and characters that only direct how text is shown.
fn is_dropped(c: char) -> bool {
    let shows_nothing = matches!(
        c,
        '\u{AD}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{1F3FB}'..='\u{1F3FF}'
    );
    shows_nothing || matches!(canonical_combining_class(c), 1 | 10..=36 | 200..=240)
}

/// Upper case first: so `ß` is `ss`, and every sigma the same.
fn folded(c: char) -> impl Iterator<Item = char> {
    let c = if c == '\u{2019}' { '\'' } else { c };
    c.to_uppercase().flat_map(char::to_lowercase)
}

fn cut(word: &str) -> String {
    let mut end = word.len().min(MAX_BYTES);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    word[..end].to_owned()
}

/// The first 8 bytes of a word's SHA-256, as the index keeps it.
fn hash(word: &str) -> i64 {
    let digest = digest(&SHA256, word.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finds(query: &str, text: &str) -> bool {
        let words = Words::parse(query).expect("a query");
        let found = words.are_in(text);
        let indexed = hashes_of(text);
        assert_eq!(words.hashes().iter().all(|hash| indexed.contains(hash)), found);
        found && !words.is_empty()
    }

    #[test]
    fn case_diacritics_and_spelling_do_not_matter() {
        for (query, text) in [
            ("HELLO", "well, hello!"),
            ("cafe", "the Café"),
            ("cafe\u{301}", "CAFÉ"),
            ("strasse", "Hauptstraße? Straße!"),
            ("ΟΔΥΣΣΕΥΣ", "ὁ Ὀδυσσεύς"),
            ("елка", "Ёлка"),
            ("ＡＢＣ", "abc"),
            ("ﬁnance", "FINANCE"),
            ("שלום", "שָׁלוֹם"),
            ("سلام", "سَلَام"),
            ("istanbul", "İSTANBUL"),
            ("한국어", "한국어를 한국어"),
            ("北京", "我在北京"),
            ("ガス", "ｶﾞｽ"),
            ("x2 foo", "x² Foo™"),
            ("don't", "I don’t"),
            ("two one", "One. Two."),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        for (query, text) in [
            ("かく", "がく"),
            ("กา", "กำ"),
            ("कि", "कु"),
            ("hell", "hello"),
            ("one three", "one two"),
        ] {
            assert!(!finds(query, text), "{query} in {text}");
        }
    }

    #[test]
    fn emoji_are_words_and_punctuation_is_none() {
        for (query, text) in [
            ("👍🏽", "ok👍"),
            ("❤\u{FE0F}", "I ❤ NY"),
            ("👩‍👩‍👧‍👦", "us: 👩‍👩‍👧‍👦!"),
            ("🇩🇪", "🇫🇷🇩🇪"),
            ("€5", "5 €"),
            ("👍👍", "👍"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        assert!(!finds("👨\u{200D}👩", "👨 👩"));
        for nothing in ["..", "$^", "\"-\"", "\0\0", "  ", "—…", "\u{FE0F}\u{FE0F}", "(*)", "__"]
        {
            assert!(Words::parse(nothing).expect("long enough").is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn operators_are_words_like_any_other() {
        for (query, text) in [
            ("$ne", "ne"),
            ("-hello", "hello"),
            ("\"hello world\"", "world, hello"),
            ("{\"$gt\":\"\"}", "gt"),
            ("a.*b", "b a"),
            ("hello\0world", "hello world"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        assert!(!finds(".*o", "hello"));
    }

    #[test]
    fn joined_words_are_found_whole_and_by_their_parts() {
        for query in ["example.com", "example", "com", "snake_case", "snake", "don", "3.14", "14"] {
            assert!(finds(query, "don't: www.example.com example.com snake_case 3.14"), "{query}");
        }
        assert!(!finds("example.com", "example com"));
    }

    #[test]
    fn queries_have_2_to_200_characters() {
        for (query, code) in [("", "too_short"), ("ö", "too_short"), (&"ö".repeat(201), "too_long")]
        {
            assert_eq!(Words::parse(query).map_err(|broken| broken.code), Err(code), "{query}");
        }
        assert!(Words::parse(&"ö".repeat(200)).is_ok());
    }

    #[test]
    fn of_a_long_word_the_beginning_counts() {
        let long = "ä".repeat(150);
        assert!(finds(&long, &format!("{long}x")));
        assert!(!finds(&"ä".repeat(31), &long));
        assert!(found_by(&"語".repeat(99)).iter().all(|word| word.len() <= MAX_BYTES));
    }

    proptest! {
        #[test]
        fn every_text_is_found_by_itself(text in "\\PC{2,200}") {
            prop_assert!(Words::parse(&text).expect("a query").are_in(&text));
        }

        #[test]
        fn how_a_text_is_composed_does_not_matter(text in "\\PC{2,60}") {
            let (nfc, nfd): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(found_by(&nfc), found_by(&nfd));
        }

        #[test]
        fn order_does_not_matter(mut words in proptest::collection::vec("[a-zà-ÿα-ωа-я]{1,9}", 1..9)) {
            let text = words.join(" ");
            words.reverse();
            let found = finds(&format!("  {}", words.join(", ")), &text);
            prop_assert!(found);
        }

        #[test]
        fn no_word_is_longer_than_what_counts(text in "\\PC{0,300}") {
            prop_assert!(found_by(&text).iter().all(|word| (1..=MAX_BYTES).contains(&word.len())));
        }
    }
}
