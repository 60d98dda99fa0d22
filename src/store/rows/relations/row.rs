//! How a relation is stored, found and changed: its row, its keys, its conditions.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::relations::{Relation, Standing};
use crate::store::bson::{binary, date, id, optional_id, pair};

/// What there is between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum Status {
    /// Asked, not answered.
    Pending,
    /// Friends.
    Accepted,
    /// At least one has blocked the other, and there is nothing else.
    Blocked,
}

/// That one of the two has blocked the other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::store) struct BlockedBy {
    /// Who: the lower or the higher of the two, as the field that this is in says. Here for the
    /// index that one's own blocks are found by.
    #[serde(with = "id")]
    by: UserId,
    #[serde(with = "date")]
    at: Timestamp,
}

/// A row of `relations`; its key is the lower of the two ids, then the higher.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    #[serde(rename = "_id")]
    pub(super) key: Binary,
    /// Who asked first; of blocks nobody.
    #[serde(with = "optional_id", default)]
    requested_by: Option<UserId>,
    status: Status,
    #[serde(with = "date")]
    since: Timestamp,
    /// Each of the two, with how it stands for them: what the lists are found by.
    views: Vec<Binary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    low_block: Option<BlockedBy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    high_block: Option<BlockedBy>,
}

impl Row {
    /// What is left of a request of `from` to `to`, accepted or not.
    pub(in crate::store) fn stood(
        from: UserId,
        to: UserId,
        accepted: bool,
        since: Timestamp,
    ) -> Self {
        let (status, views) = if accepted {
            let views = [(to, Standing::Accepted), (from, Standing::Accepted)];
            (Status::Accepted, views)
        } else {
            (Status::Pending, [(from, Standing::Outgoing), (to, Standing::Incoming)])
        };
        let views = views.map(|(user, standing)| raw(view_bytes(user, standing))).into();
        Self {
            key: raw(key_bytes(from, to)),
            requested_by: Some(from),
            status,
            since,
            views,
            low_block: None,
            high_block: None,
        }
    }

    /// How the other one stands with one of the two; `None` where one has blocked the other.
    #[must_use]
    pub fn standing(&self, reader: UserId) -> Option<Standing> {
        match self.status {
            Status::Accepted => Some(Standing::Accepted),
            Status::Pending if self.requested_by == Some(reader) => Some(Standing::Outgoing),
            Status::Pending => Some(Standing::Incoming),
            Status::Blocked => None,
        }
    }

    /// The relation as one of the two sees it; `None` for blocks, and if its key is not of two
    /// ids.
    #[must_use]
    pub fn seen_by(&self, reader: UserId) -> Option<Relation> {
        let (user, standing) = (self.other_than(reader)?, self.standing(reader)?);
        Some(Relation { user, standing, since: self.since })
    }

    /// The other one of the two; `None` if the key is not of two ids.
    #[must_use]
    pub fn other_than(&self, reader: UserId) -> Option<UserId> {
        other_in(&self.key, reader)
    }

    /// Since when one of the two has blocked the other.
    #[must_use]
    pub fn blocked_by(&self, blocker: UserId) -> Option<Timestamp> {
        let blocks = [self.low_block, self.high_block].into_iter().flatten();
        blocks.filter(|block| block.by == blocker).map(|block| block.at).next()
    }

    /// Whether they are friends.
    #[must_use]
    pub fn is_friendship(&self) -> bool {
        self.status == Status::Accepted
    }

    /// Whether one of the two has blocked the other.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.status == Status::Blocked
    }

    /// Whether nobody has blocked anybody (any more).
    #[must_use]
    pub fn has_no_block(&self) -> bool {
        self.low_block.is_none() && self.high_block.is_none()
    }
}

/// The other one of the two of a key; `None` if it is not of two ids.
pub(super) fn other_in(key: &Binary, reader: UserId) -> Option<UserId> {
    let low: [u8; 16] = key.bytes.get(..16)?.try_into().ok()?;
    let high: [u8; 16] = key.bytes.get(16..)?.try_into().ok()?;
    let (low, high) = (UserId::from_bytes(low), UserId::from_bytes(high));
    Some(if low == reader { high } else { low })
}

/// The field for the block of `blocker`.
pub(super) fn block_field(blocker: UserId, other: UserId) -> &'static str {
    if blocker <= other { "low_block" } else { "high_block" }
}

/// The key of a pair, the same from both sides.
pub(super) fn key(one: UserId, other: UserId) -> Bson {
    binary(key_bytes(one, other))
}

fn key_bytes(one: UserId, other: UserId) -> Vec<u8> {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    pair(&low, &high)
}

fn raw(bytes: Vec<u8>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes }
}

/// An entry of `views`: whose list, and which one.
pub(super) fn view(user: UserId, standing: Standing) -> Bson {
    binary(view_bytes(user, standing))
}

fn view_bytes(user: UserId, standing: Standing) -> Vec<u8> {
    let code = match standing {
        Standing::Accepted => 0,
        Standing::Incoming => 1,
        Standing::Outgoing => 2,
    };
    coded_view(user, code)
}

/// The entry of `views` for a pair with a block: in no list, but among all that a user has.
fn blocked_view(user: UserId) -> Bson {
    binary(coded_view(user, 3))
}

/// Finds all that a user has with anyone.
pub(super) fn all_views(user: UserId) -> Document {
    let view = |code| binary(coded_view(user, code));
    doc! { "views": { "$elemMatch": { "$gte": view(0), "$lte": view(u8::MAX) } } }
}

fn coded_view(user: UserId, code: u8) -> Vec<u8> {
    [user.bytes().as_slice(), &[code]].concat()
}

/// Finds a request of `from` to `to`.
pub(super) fn requested(from: UserId, to: UserId) -> Document {
    doc! { "_id": key(from, to), "status": "pending", "requested_by": from }
}

/// The one step from any state of the pair to the one after `user` has asked: a new request, an
/// accepted one, or no change. Being one step, requests that cross cannot miss each other.
pub(super) fn asked(user: UserId, other: UserId, at: Timestamp) -> Vec<Document> {
    let is_new = doc! { "$eq": [{ "$type": "$status" }, "missing"] };
    let is_answer =
        doc! { "$and": [{ "$eq": ["$status", "pending"] }, { "$eq": ["$requested_by", other] }] };
    let next = |new: Bson, answer: Bson, field: &str| {
        doc! { "$switch": {
            "branches": [
                { "case": is_new.clone(), "then": new },
                { "case": is_answer.clone(), "then": answer },
            ],
            "default": field,
        } }
    };
    let pending = vec![view(user, Standing::Outgoing), view(other, Standing::Incoming)];
    let accepted = vec![view(user, Standing::Accepted), view(other, Standing::Accepted)];
    vec![doc! { "$set": {
        "requested_by": { "$ifNull": ["$requested_by", user] },
        "status": next("pending".into(), "accepted".into(), "$status"),
        "since": next(at.into(), at.into(), "$since"),
        "views": next(pending.into(), accepted.into(), "$views"),
    } }]
}

/// The one step from any state of the pair to the one after `user` has blocked `other`. A block
/// that is there keeps its time.
pub(super) fn blocked(user: UserId, other: UserId, at: Timestamp) -> Vec<Document> {
    let field = block_field(user, other);
    let was_blocked = doc! { "$eq": ["$status", "blocked"] };
    vec![
        doc! { "$set": {
            "since": { "$cond": [was_blocked, "$since", at] },
            "status": "blocked",
            "views": [blocked_view(user), blocked_view(other)],
            field: { "$ifNull": [format!("${field}"), { "by": user, "at": at }] },
        } },
        doc! { "$unset": "requested_by" },
    ]
}
