//! Friendship and blocks: one relation per pair of users, seen from either side.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::ids::UserId;
use crate::error::Error;

/// How a relation looks from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Friends.
    Accepted,
    /// The other one asks.
    Incoming,
    /// One has asked the other.
    Outgoing,
}

impl Standing {
    /// The state of the relation, the same from both sides.
    #[must_use]
    pub fn status(self) -> RelationStatus {
        match self {
            Self::Accepted => RelationStatus::Accepted,
            Self::Incoming | Self::Outgoing => RelationStatus::Pending,
        }
    }

    /// Which way a request goes; `None` between friends.
    #[must_use]
    pub fn direction(self) -> Option<Direction> {
        match self {
            Self::Accepted => None,
            Self::Incoming => Some(Direction::Incoming),
            Self::Outgoing => Some(Direction::Outgoing),
        }
    }
}

/// The state of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelationStatus {
    /// Asked, not answered.
    Pending,
    /// Friends.
    Accepted,
}

/// Which way a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the reader.
    Incoming,
    /// From the reader.
    Outgoing,
}

/// A relation as one of the two sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// The other one.
    pub user: UserId,
    /// How it stands.
    pub standing: Standing,
    /// Since when it has stood so.
    pub since: Timestamp,
}

/// A place in a list of relations, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationPosition {
    /// Since when the last one of the page has stood so.
    pub since: Timestamp,
    /// The other one in it.
    pub user: UserId,
}

/// That one user has blocked another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Whom.
    pub user: UserId,
    /// Since when.
    pub at: Timestamp,
}

/// A place in the list of those whom one has blocked, the last first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPosition {
    /// When the last one of the page was blocked.
    pub at: Timestamp,
    /// Who that was.
    pub user: UserId,
}

/// Nothing may begin between these two: one has blocked the other, or is gone. It does not say
/// which.
#[must_use]
pub fn recipient_unavailable() -> Error {
    Error::forbidden(
        "recipient_unavailable",
        "user unavailable: they do not accept this from you, or their account was deleted",
    )
}

/// One is not one's own friend, and cannot be blocked by oneself.
///
/// # Errors
/// `cannot_friend_self` if both are the same.
pub fn not_oneself(user: UserId, other: UserId) -> Result<(), Error> {
    if user == other {
        return Err(Error::invalid(
            "cannot_friend_self",
            "the user must be somebody else, not the caller",
        ));
    }
    Ok(())
}
