//! Lockouts: one row per e-mail address that somebody tries passwords for. It counts the wrong
//! ones in a row, and holds a place for each attempt that is under way.

use std::time::Duration;

use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp, random_bytes};
use crate::domain::lockouts::{FREE_ATTEMPTS, REMEMBERED, pauses};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{binary, date, optional_date, raw};

/// How long an attempt keeps its place where the instance that made it is killed; longer than any
/// request takes.
const LEASE: Duration = Duration::from_mins(1);

/// What an address is known by: a keyed hash, so that no list of addresses lies here.
pub type LockoutKey = [u8; 32];

/// A row of `lockouts`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    /// Wrong passwords in a row.
    wrong: i64,
    /// Attempts under way.
    taken: Vec<Place>,
    #[serde(with = "optional_date", default)]
    locked_until: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    id: Binary,
    #[serde(with = "date")]
    until: Timestamp,
}

/// An attempt that may be made; to be settled once its outcome is known.
#[derive(Debug)]
pub struct Attempt {
    key: LockoutKey,
    place: [u8; 16],
}

/// What came of asking for an attempt.
#[derive(Debug)]
pub enum Taken {
    /// It may be made.
    Attempt(Attempt),
    /// As many are under way as may still be wrong: to be asked again when they have ended.
    Busy,
    /// None may be made before this moment.
    Locked(Timestamp),
}

/// Where the row stands after a wrong password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// How many in a row, this one included.
    pub count: u32,
    /// Until when no attempt may be made.
    pub locked_until: Option<Timestamp>,
}

/// The collection `lockouts`, for one command.
pub struct Lockouts<'a>(Table<'a, Row>);

impl<'a> Lockouts<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Asks for an attempt. Of many at once, on whatever instances, only so many get one that all
    /// of them may be wrong without there being more than [`FREE_ATTEMPTS`]; past that, one at a time.
    pub async fn take(self, key: LockoutKey, now: Timestamp) -> Result<Taken> {
        let place = random_bytes();
        let row = self.0.change_or_insert(of(key), taking(place, now)).await?;
        if row.taken.iter().any(|taken| taken.id.bytes == place) {
            return Ok(Taken::Attempt(Attempt { key, place }));
        }
        let locked = row.locked_until.filter(|until| *until > now && *until <= latest(now));
        Ok(locked.map_or(Taken::Busy, Taken::Locked))
    }

    /// Counts a wrong password, whether the attempt still has its place or not.
    pub async fn wrong(self, attempt: &Attempt, now: Timestamp) -> Result<Wrong> {
        let row = self.0.change_or_insert(of(attempt.key), missed(attempt.place, now)).await?;
        let count = u32::try_from(row.wrong).unwrap_or(u32::MAX);
        Ok(Wrong { count, locked_until: row.locked_until })
    }

    /// Forgets the wrong passwords after a right one, if no other attempt is under way; whether
    /// that is so.
    pub async fn right_alone(self, attempt: &Attempt) -> Result<bool> {
        let mut alone = of(attempt.key);
        alone.extend(doc! { "taken": { "$size": 1 }, "taken.id": binary(attempt.place) });
        self.0.delete(alone).await
    }

    /// Forgets the wrong passwords after a right one. Other attempts under way keep their places.
    pub async fn right(self, attempt: &Attempt) -> Result<()> {
        let none = doc! { "wrong": 0_i64, "locked_until": null, "taken": others(attempt.place) };
        self.0.update(of(attempt.key), vec![doc! { "$set": none }]).await.map(|_| ())
    }

    /// Gives back the place of an attempt that was not made.
    pub async fn give_back(self, attempt: &Attempt) -> Result<()> {
        let without = vec![doc! { "$set": { "taken": others(attempt.place) } }];
        self.0.update(of(attempt.key), without).await.map(|_| ())
    }

    /// Forgets all attempts.
    pub async fn forget(self, key: LockoutKey) -> Result<()> {
        self.0.delete(of(key)).await.map(|_| ())
    }
}

fn of(key: LockoutKey) -> Document {
    doc! { "_id": binary(key) }
}

/// The latest end of a pause that begins now. A later one was set before the clock was set back,
/// and is over: nobody waits longer than the longest pause.
fn latest(now: Timestamp) -> Timestamp {
    let longest = pauses().last().copied().unwrap_or_default();
    now.plus(longest).plus(CLOCK_TOLERANCE)
}

/// Takes a place, if there is one: a row whose time is over counts as absent, and so does a place.
fn taking(place: [u8; 16], now: Timestamp) -> Vec<Document> {
    let until = now.plus(LEASE);
    let standing = doc! { "$filter": {
        "input": { "$ifNull": ["$taken", []] }, "as": "it", "cond": { "$and": [
            { "$gt": ["$$it.until", now] }, { "$lte": ["$$it.until", until.plus(CLOCK_TOLERANCE)] },
        ] },
    } };
    // Null sorts before every date.
    let open = doc! { "$or": [
        { "$lte": ["$locked_until", now] }, { "$gt": ["$locked_until", latest(now)] },
    ] };
    let places = doc! { "$max": [1, { "$subtract": [i64::from(FREE_ATTEMPTS), "$wrong"] }] };
    let free = doc! { "$lt": [{ "$size": "$taken" }, places] };
    let mine = doc! { "id": raw(place), "until": until };
    vec![
        doc! { "$set": {
            "wrong": remembered("$wrong", 0_i64.into(), now),
            "locked_until": remembered("$locked_until", Bson::Null, now),
            "taken": standing,
        } },
        doc! { "$set": {
            "taken": { "$cond": [
                { "$and": [open, free] }, { "$concatArrays": ["$taken", [mine]] }, "$taken",
            ] },
            "expires_at": { "$max": ["$expires_at", until] },
        } },
    ]
}

/// Counts a wrong password, and from the [`FREE_ATTEMPTS`]th on sets the pause that follows.
fn missed(place: [u8; 16], now: Timestamp) -> Vec<Document> {
    let pauses: Vec<i64> =
        pauses().iter().map(|pause| i64::try_from(pause.as_millis()).unwrap_or(0)).collect();
    let last = i64::try_from(pauses.len()).unwrap_or(1) - 1;
    let which = doc! { "$min": [{ "$subtract": ["$wrong", i64::from(FREE_ATTEMPTS)] }, last] };
    let until = doc! { "$add": [now, { "$arrayElemAt": [pauses, which] }] };
    let before = remembered("$wrong", 0_i64.into(), now);
    vec![
        doc! { "$set": { "wrong": { "$add": [before, 1_i64] }, "taken": others(place) } },
        doc! { "$set": {
            "locked_until": {
                "$cond": [{ "$lt": ["$wrong", i64::from(FREE_ATTEMPTS)] }, "$locked_until", until],
            },
            "expires_at": now.plus(REMEMBERED),
        } },
    ]
}

/// A field, or what it begins with where the row is new or its time is over.
fn remembered(field: &str, otherwise: Bson, now: Timestamp) -> Document {
    let value = doc! { "$ifNull": [field, otherwise.clone()] };
    doc! { "$cond": [{ "$gt": ["$expires_at", now] }, value, otherwise] }
}

/// The places of all other attempts.
fn others(place: [u8; 16]) -> Document {
    doc! { "$filter": {
        "input": { "$ifNull": ["$taken", []] }, "as": "it",
        "cond": { "$ne": ["$$it.id", raw(place)] },
    } }
}
