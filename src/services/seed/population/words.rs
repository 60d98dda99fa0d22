//! Names and texts.

use super::dice::{Dice, whole};

pub(super) const FIRST_NAMES: [&str; 48] = [
    "ada", "aiko", "alma", "amir", "anna", "asha", "ben", "bruno", "carla", "chen", "clara",
    "dana", "david", "elena", "emil", "emma", "eva", "farid", "femi", "greta", "hana", "hugo",
    "ines", "ivan", "jan", "jonas", "julia", "kai", "karim", "kofi", "lea", "leo", "lina", "luis",
    "maja", "marco", "maria", "mei", "mila", "nadia", "noah", "olga", "omar", "paul", "rosa",
    "sara", "tom", "yuki",
];

pub(super) const LAST_NAMES: [&str; 40] = [
    "adeyemi", "ahmed", "becker", "brown", "costa", "diaz", "fischer", "garcia", "haddad",
    "hansen", "ito", "ivanov", "jansen", "johnson", "kaya", "khan", "kim", "kovacs", "kumar",
    "larsen", "lee", "lopez", "meyer", "moreau", "nguyen", "novak", "okafor", "park", "patel",
    "petrov", "rossi", "santos", "sato", "silva", "smith", "tanaka", "wagner", "wang", "weber",
    "zhang",
];

pub(super) const TOPICS: [&str; 16] = [
    "Book club",
    "Choir",
    "Class of",
    "Cycling",
    "Family",
    "Flat",
    "Football",
    "Garden",
    "Hiking",
    "House",
    "Lunch",
    "Office",
    "Parents",
    "Project",
    "Reading",
    "Trip",
];

/// In about the order of how often people use them, so that low ones come more often.
const WORDS: [&str; 96] = [
    "i", "you", "the", "to", "it", "and", "a", "that", "is", "we", "of", "in", "for", "on", "do",
    "have", "what", "not", "are", "be", "so", "this", "with", "can", "just", "ok", "yes", "no",
    "at", "if", "was", "there", "will", "all", "then", "know", "when", "good", "get", "now", "see",
    "go", "like", "one", "how", "time", "think", "about", "today", "tomorrow", "thanks", "really",
    "back", "need", "want", "home", "here", "later", "sure", "great", "maybe", "still", "work",
    "week", "night", "morning", "coffee", "train", "meeting", "weekend", "photo", "dinner", "call",
    "idea", "people", "early", "late", "station", "ticket", "friend", "summer", "music", "garden",
    "question", "answer", "city", "holiday", "kitchen", "window", "birthday", "weather", "bicycle",
    "library", "concert", "mountain", "umbrella",
];

/// Words of the longest text.
const LONGEST: usize = 200;

/// A text: mostly a few words, now and then many.
pub(super) fn text(dice: &mut Dice) -> String {
    let count = whole(3.0 * dice.heavy()).min(LONGEST);
    let mut text = String::with_capacity(count * 6);
    for word in 0..count {
        if word > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[dice.low(WORDS.len())]);
    }
    text.push_str(["", "", ".", "!", "?"][dice.below(5)]);
    text
}
