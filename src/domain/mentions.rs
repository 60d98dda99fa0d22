//! Mentions: `@username` in a message's text.

mod quoted;

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use self::quoted::quoted;

/// Most names of one text that are looked up, and most forms of them.
const MAX_NAMES: usize = 100;
const MAX_FORMS: usize = 1000;

/// Shortest and longest username.
const MIN_NAME: usize = 3;
const MAX_NAME: usize = 32;

/// The keys (lower case) of the usernames that a text may mention, as `@name` or `＠name`. What
/// follows may go on with characters that a username could hold too (`@ada.Thanks`, `_@ada_`): each
/// shorter form that ends at one of those is a candidate as well, and the longest that names
/// someone is meant.
///
/// An `@` within a word, an e-mail address, a link or code mentions nobody.
#[must_use]
pub fn candidates(text: &str) -> Vec<Vec<String>> {
    let quoted = quoted(text);
    let (mut seen, mut found, mut forms_left) = (BTreeSet::new(), Vec::new(), MAX_FORMS);
    for (at, sign) in text.char_indices().filter(|(_, c)| is_at(*c)) {
        if is_within(&quoted, at) || ends_in_word(&text[..at]) {
            continue;
        }
        let rest = &text[at + sign.len_utf8()..];
        let name = name_at(rest);
        if is_handle(&rest[name.len()..]) {
            continue;
        }
        let forms = forms(name);
        let is_new = !forms.is_empty() && seen.insert(forms.clone());
        if is_new && found.len() < MAX_NAMES && forms.len() <= forms_left {
            forms_left -= forms.len();
            found.push(forms);
        }
    }
    found
}

fn is_at(c: char) -> bool {
    matches!(c, '@' | '＠')
}

fn is_within(ranges: &[Range<usize>], at: usize) -> bool {
    let next = ranges.partition_point(|range| range.end <= at);
    ranges.get(next).is_some_and(|range| range.contains(&at))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Characters before the `@` of an e-mail address, as far as people's addresses have them.
fn is_local(c: char) -> bool {
    is_name(c) || matches!(c, '+' | '%')
}

/// Whether a text ends in a word, so that an `@` after it is part of that: markup alone is none, nor
/// is a sentence, which ends in a full stop as no address does. Scripts that put no spaces between
/// words say nothing.
fn ends_in_word(text: &str) -> bool {
    let base = text.trim_end_matches(is_combining);
    match base.chars().next_back() {
        Some('.') | None => false,
        Some(c) if is_at(c) => true,
        Some(c) if is_local(c) => {
            let local = base.rsplit(|c| !is_local(c)).next().unwrap_or_default();
            local.contains(|c: char| c.is_ascii_alphanumeric()) || {
                let before = base[..base.len() - local.len()].chars().next_back();
                before.is_some_and(is_spaced_letter)
            }
        }
        Some(c) => is_spaced_letter(c),
    }
}

fn is_combining(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

/// Letters and digits of scripts whose words stand between spaces.
fn is_spaced_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

/// Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese, Yi; and Korean, where what follows a
/// name is written to it.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{FFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}'
        | '\u{1780}'..='\u{17FF}' | '\u{19E0}'..='\u{19FF}' | '\u{2E80}'..='\u{A4CF}'
        | '\u{A960}'..='\u{A97F}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AA7F}'
        | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FFDC}'
        | '\u{1AFF0}'..='\u{1B2FF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a name goes on as an address on another server does: `@ada@example.org`.
fn is_handle(after: &str) -> bool {
    let Some(host) = after.strip_prefix(is_at) else { return false };
    let host = &host[..host.find(|c: char| !is_name(c)).unwrap_or(host.len())];
    host.trim_end_matches(['.', '_', '-']).contains('.')
}

fn name_at(text: &str) -> &str {
    &text[..text.find(|c| !is_name(c)).unwrap_or(text.len())]
}

/// The name itself, and each beginning of it that ends before or after a mark; as usernames can be.
fn forms(name: &str) -> Vec<String> {
    let bytes = name.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Vec::new();
    }
    let is_mark = |at: usize| bytes.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let ends = (MIN_NAME..=name.len().min(MAX_NAME)).rev();
    let ends = ends.filter(|end| is_mark(*end) || is_mark(end - 1));
    ends.map(|end| name[..end].to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests;
