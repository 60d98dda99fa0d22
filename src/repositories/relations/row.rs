//! How a relation is stored, found and changed: its row, its keys, its conditions.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::relations::{Relation, RelationPosition, RelationStatus, Standing};
use crate::repositories::bson::{binary, date, id, pair};

/// A row of `relations`; its key is the lower of the two ids, then the higher.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id")]
    key: Binary,
    #[serde(with = "id")]
    requested_by: UserId,
    pub(super) status: RelationStatus,
    #[serde(with = "date")]
    since: Timestamp,
    /// Each of the two, with how it stands for them: what the lists are found by.
    views: Vec<Binary>,
}

impl Row {
    /// What is left of a request of `from` to `to`, accepted or not.
    pub(super) fn stood(from: UserId, to: UserId, accepted: bool, since: Timestamp) -> Self {
        let (status, views) = if accepted {
            let views = [(to, Standing::Accepted), (from, Standing::Accepted)];
            (RelationStatus::Accepted, views)
        } else {
            (RelationStatus::Pending, [(from, Standing::Outgoing), (to, Standing::Incoming)])
        };
        let views = views.map(|(user, standing)| raw(view_bytes(user, standing))).into();
        Self { key: raw(key_bytes(from, to)), requested_by: from, status, since, views }
    }

    pub(super) fn standing(&self, reader: UserId) -> Standing {
        match self.status {
            RelationStatus::Accepted => Standing::Accepted,
            RelationStatus::Pending if self.requested_by == reader => Standing::Outgoing,
            RelationStatus::Pending => Standing::Incoming,
        }
    }

    /// The relation as one of the two sees it; `None` if its key is not of two ids.
    pub(super) fn seen_by(&self, reader: UserId) -> Option<Relation> {
        let low: [u8; 16] = self.key.bytes.get(..16)?.try_into().ok()?;
        let high: [u8; 16] = self.key.bytes.get(16..)?.try_into().ok()?;
        let (low, high) = (UserId::from_bytes(low), UserId::from_bytes(high));
        let user = if low == reader { high } else { low };
        Some(Relation { user, standing: self.standing(reader), since: self.since })
    }
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
    let mut bytes = user.bytes().to_vec();
    bytes.push(code);
    bytes
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

/// What comes after a position: each side is one range of the index, which are then merged.
pub(super) fn older(user: UserId, position: RelationPosition) -> Document {
    doc! {
        "$or": [
            { "since": { "$lt": position.since } },
            { "since": position.since, "_id": { "$lt": key(user, position.user) } },
        ],
    }
}
