//! One spelling of a text for all that are searched alike: compatibility forms taken apart, without
//! case, diacritics and strokes.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

use super::fold::plain;

/// The one spelling of a text.
pub(super) fn normalised(text: &str) -> String {
    let mut normalised = String::with_capacity(text.len());
    let mut push = |c: char| {
        if is_dropped(c) {
            return;
        }
        for c in folded(c) {
            match plain(c) {
                Some(letters) => normalised.push_str(letters),
                None => normalised.push(c),
            }
        }
    };
    for c in text.nfd() {
        match c {
            // Taken apart, these would grow together with the word before them.
            '™' | '℠' => push(' '),
            // Taken apart, letters that stand alone (`ㅋㅋㅠㅠ`) would grow together to syllables.
            '\u{3131}'..='\u{318E}' => push(c),
            '\u{FFA0}'..='\u{FFDC}' => push(full_width(c)),
            c if c.is_ascii() => push(c),
            c => decompose_compatible(c, &mut push),
        }
    }
    normalised
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
            | '\u{E0100}'..='\u{E01EF}'
    );
    shows_nothing || matches!(canonical_combining_class(c), 1 | 10..=36 | 200..=240)
}

/// Upper case first: so `ß` is `ss`, and every sigma the same.
fn folded(c: char) -> impl Iterator<Item = char> {
    let c = if c == '\u{2019}' { '\'' } else { c };
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// The letter of Hangul that a half-width one stands for (UCD: `<narrow>`).
fn full_width(narrow: char) -> char {
    let narrow = u32::from(narrow);
    let first = match narrow {
        0xFFA1..=0xFFBE => 0x3131 - 0xFFA1,
        0xFFC2..=0xFFC7 => 0x314F - 0xFFC2,
        0xFFCA..=0xFFCF => 0x3155 - 0xFFCA,
        0xFFD2..=0xFFD7 => 0x315B - 0xFFD2,
        0xFFDA..=0xFFDC => 0x3161 - 0xFFDA,
        _ => 0,
    };
    char::from_u32(narrow.wrapping_add_signed(first)).unwrap_or(' ')
}
