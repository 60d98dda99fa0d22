//! Friendship: one relation per pair of users, seen from either side.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::ids::UserId;

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
