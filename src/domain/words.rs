//! Words, as messages are searched by them: without case, diacritics and strokes.
//!
//! A word of a script with spaces is Unicode's (UAX #29). In scripts without spaces, and in Hangul,
//! any part of a run of characters is one. The text decides ([`Words::are_in`]); the index, which
//! holds hashes of terms, only proposes ([`hashes_of`]). Terms only ever leave here as hashes, so
//! that nothing in a text or a query (`$ne`, `.*`, quotes) can mean anything but itself.

mod fold;
mod normal;
mod scripts;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use self::normal::normalised;
use super::text::Violation;

/// So many bytes of a word count; what begins alike for so long is the same word.
const MAX_BYTES: usize = 64;

/// Fewest and most characters of a query. One that stands in a run is enough.
const QUERY: (usize, usize) = (2, 200);

/// What someone looks for: words that a message must all have, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Words of scripts with spaces: each is in the message as a whole.
    whole: BTreeSet<String>,
    /// Runs of other scripts: each is in the message, its characters adjacent and in order.
    runs: BTreeSet<String>,
}

impl Words {
    /// The words of a query of 2 to 200 characters; there may be none in it. One character is
    /// enough in scripts without spaces and in Hangul.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(query: &str) -> Result<Self, Violation> {
        let broken = |code, message| Err(Violation { code, message });
        let length = query.chars().count();
        if length > QUERY.1 {
            return broken("too_long", "must have at most 200 characters");
        }
        let (runs, rest) = scripts::split(&normalised(query));
        if length < QUERY.0 && runs.is_empty() {
            return broken("too_short", "must have at least 2 characters");
        }
        Ok(Self { whole: units(&rest).map(cut).collect(), runs })
    }

    /// Whether a text has all of them.
    #[must_use]
    pub fn are_in(&self, text: &str) -> bool {
        let (runs, rest) = scripts::split(&normalised(text));
        let is_there = |part: &String| runs.iter().any(|run| run.contains(part.as_str()));
        self.runs.iter().all(is_there) && self.whole.is_subset(&found_whole(&rest))
    }

    /// Hashes of the index's terms that a text with all of them has, the longest term's first. A
    /// text with all terms need not have the words.
    #[must_use]
    pub fn hashes(&self) -> Vec<i64> {
        let mut terms: BTreeSet<&str> = self.whole.iter().map(String::as_str).collect();
        for run in &self.runs {
            let pairs = windows(run, 2);
            terms.extend(if pairs.is_empty() { windows(run, 1) } else { pairs });
        }
        let mut terms: Vec<&str> = terms.into_iter().collect();
        terms.sort_by_key(|term| Reverse(term.chars().count()));
        terms.into_iter().map(hash).collect()
    }

    /// What is the same for queries that ask for the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        let words = self.whole.iter().chain(&self.runs);
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// Hashes of all terms by which the index proposes a text, each once: its words, and of its runs
/// each character and each pair of neighbours.
#[must_use]
pub fn hashes_of(text: &str) -> BTreeSet<i64> {
    let (runs, rest) = scripts::split(&normalised(text));
    let words = found_whole(&rest);
    let parts = runs.iter().flat_map(|run| windows(run, 1).into_iter().chain(windows(run, 2)));
    parts.chain(words.iter().map(String::as_str)).map(hash).collect()
}

/// All words of a text without its runs. One that holds punctuation, as `don't` and `example.com`
/// do, is found whole and by its parts.
fn found_whole(rest: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for unit in units(rest) {
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

/// Each part of a run that has so many characters.
fn windows(run: &str, length: usize) -> BTreeSet<&str> {
    let begins = run.char_indices().map(|(at, _)| at);
    let ends = begins.clone().chain([run.len()]).skip(length);
    begins.zip(ends).map(|(begin, end)| &run[begin..end]).collect()
}

fn cut(word: &str) -> String {
    let mut end = word.len().min(MAX_BYTES);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    word[..end].to_owned()
}

/// The first 8 bytes of a term's SHA-256, as the index keeps it.
fn hash(term: &str) -> i64 {
    let digest = digest(&SHA256, term.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;
