//! What searching goes through: places, candidates, positions.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::{ConversationId, MessageId};

/// A conversation that is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub id: ConversationId,
    /// When its last message was sent: none in it is newer.
    pub last_at: Timestamp,
}

/// A message's place among those that are found; the newest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Found {
    /// When it was sent.
    pub at: Timestamp,
    /// Which one it is.
    pub id: MessageId,
}

/// A message that the index proposes for one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The message.
    pub message: Found,
    /// Whether it has the other terms as well.
    pub has_all: bool,
}

/// Where a walk through what was found goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPosition {
    /// The last message shown, or gone through where a request ended before its page was full.
    pub last: Found,
    /// How many messages the walk has shown.
    pub shown: usize,
    /// The hash of the term whose messages it goes through.
    pub by: i64,
}
