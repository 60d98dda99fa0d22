//! Scripts in which any part of a word is looked for: those that put no spaces between words, and
//! Hangul, whose words carry their particles with them.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

/// Scripts whose characters form runs.
const SCRIPTS: [Script; 19] = [
    Script::Han,
    Script::Hiragana,
    Script::Katakana,
    Script::Hangul,
    Script::Bopomofo,
    Script::Thai,
    Script::Lao,
    Script::Khmer,
    Script::Myanmar,
    Script::Tibetan,
    Script::Yi,
    Script::Tai_Le,
    Script::New_Tai_Lue,
    Script::Tai_Tham,
    Script::Tai_Viet,
    Script::Javanese,
    Script::Balinese,
    Script::Tangut,
    Script::Nushu,
];

/// The first character of any of them: Thai. All before it need no look-up.
const FIRST: char = '\u{E00}';

/// The runs of a normalised text, and the rest of it, with a space where each run was.
pub(super) fn split(normalised: &str) -> (BTreeSet<String>, String) {
    let (mut runs, mut rest) = (BTreeSet::new(), String::with_capacity(normalised.len()));
    let mut run = String::new();
    // The space at the end closes the last run.
    for c in normalised.chars().chain([' ']) {
        if is_in_run(c) {
            run.push(c);
        } else if run.is_empty() {
            rest.push(c);
        } else if !is_passed_over(c) {
            // Syllables and voiced kana are one character each, so that no part of one is found.
            runs.insert(run.nfc().collect());
            run.clear();
            rest.extend([' ', c]);
        }
    }
    (runs, rest)
}

fn is_in_run(c: char) -> bool {
    if c < FIRST {
        return false;
    }
    let is_mark = || c.general_category_group() == GeneralCategoryGroup::Mark;
    let scripts = c.script_extension();
    // These are in every script.
    let of_none = scripts.is_common() || scripts.is_inherited();
    !of_none
        && SCRIPTS.iter().any(|script| scripts.contains_script(*script))
        && (c.is_alphanumeric() || is_mark())
}

/// Marks between syllables or at possible line breaks; a query may leave them out.
fn is_passed_over(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200D}' | '\u{F0B}' | '\u{F0C}')
}
