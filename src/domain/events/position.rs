//! Positions: the order of all events, and the ids that clients know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::ids::InvalidId;

/// The position of an event among all events: the time of its commit in the order of the store, then
/// its place in that commit. Every reader computes the same position, so an event that is read twice
/// is recognised, and one order holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Seconds since the epoch, by the store's clock, then the ordinal of the commit within the
    /// second, as one number: seconds in the upper 32 bits.
    pub commit: u64,
    /// The place in that commit, from 1; 0 is before all events of the commit.
    pub nth: u32,
}

impl Position {
    /// The position before the first event of a commit.
    #[must_use]
    pub fn before(commit: u64) -> Self {
        Self { commit, nth: 0 }
    }

    /// The next position.
    #[must_use]
    pub fn next(self) -> Self {
        match self.nth.checked_add(1) {
            Some(nth) => Self { nth, ..self },
            None => Self::before(self.commit.saturating_add(1)),
        }
    }

    /// The time of its commit, in seconds since the epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.commit >> 32
    }
}

/// As text, 24 hexadecimal digits: the id of the event for clients.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.commit, self.nth)
    }
}

impl FromStr for Position {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 24 || !text.bytes().all(is_ours) {
            return Err(InvalidId);
        }
        let commit = u64::from_str_radix(&text[..16], 16).map_err(|_| InvalidId)?;
        let nth = u32::from_str_radix(&text[16..], 16).map_err(|_| InvalidId)?;
        Ok(Self { commit, nth })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_sort_as_positions_do(one: (u64, u32), other: (u64, u32)) {
            let position = |(commit, nth)| Position { commit, nth };
            let (one, other) = (position(one), position(other));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }

        #[test]
        fn no_other_text_is_an_id(text in "\\PC{0,40}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
