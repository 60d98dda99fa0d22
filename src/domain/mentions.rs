//! Mentions: `@username` in a message's text.

use std::collections::BTreeSet;

/// Most names of one text that are looked up.
const MAX_NAMES: usize = 100;

/// Longest username.
const MAX_NAME: usize = 32;

/// The keys (lower case) of the usernames that a text may mention. What follows an `@` may end in
/// punctuation that a username could hold too (`see @ada.`): each shorter form without it is a
/// candidate as well, and the longest that names someone is meant.
///
/// An `@` within a word, as in an e-mail address, mentions nobody.
#[must_use]
pub fn candidates(text: &str) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        if c == '@' && !before.is_some_and(is_word) {
            let name = name_at(&text[at + 1..]);
            if !name.is_empty() && seen.insert(name.clone()) && found.len() < MAX_NAMES {
                found.push(forms(&name));
            }
        }
        before = Some(c);
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// What an e-mail address may have before its `@`. Letters of other scripts are not among them:
/// some are written without spaces.
fn is_word(c: char) -> bool {
    is_name(c) || c == '@'
}

fn name_at(text: &str) -> String {
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

/// The name itself, and without each of its trailing marks; none longer than a username can be.
fn forms(name: &str) -> Vec<String> {
    let shortest = name.trim_end_matches(['.', '_', '-']).len().max(1);
    (shortest..=name.len().min(MAX_NAME)).rev().map(|end| name[..end].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_after_an_at_that_begins_a_word() {
        let names = |text| {
            candidates(text).into_iter().map(|mut forms| forms.remove(0)).collect::<Vec<_>>()
        };
        assert_eq!(names("hi @Ada, (@bob) and @ada"), ["ada", "bob"]);
        assert_eq!(names("write to me@example.com, @@x, @"), Vec::<String>::new());
        assert_eq!(candidates("see @a.b.."), [["a.b..", "a.b.", "a.b"]]);
        assert_eq!(names("你好@ada @öda"), ["ada"]);
        let many: Vec<String> = (0..200).map(|n| format!("@user{n}")).collect();
        assert_eq!(candidates(&many.join(" ")).len(), MAX_NAMES);
    }
}
