//! Which instance fills the index, and whether all of it has to be made anew.
//!
//! The lease says which form of terms its holder writes. An instance that writes a newer form takes
//! the lease from one that writes an older, and indexes every message again: so no row that an
//! older instance wrote, before or between, stays as it is.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::super::bson::{int, optional_date, optional_id};
use super::super::{duplicate, within, within_raw};
use super::Indexing;
use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::domain::ids::MessageId;
use crate::error::Result;

/// How long a silent holder keeps the lease.
const TERM: Duration = Duration::from_secs(5);

/// The form of the terms that are written: another number whenever `domain::words` makes others of
/// the same text. The first form had no number, nor strokes and neighbours.
const FORM: i32 = 2;

/// The row `search` of `meta`.
#[derive(Debug, Deserialize)]
pub(super) struct LeaseRow {
    /// Until when the lease is held; none when nobody holds it.
    #[serde(with = "optional_date", default)]
    until: Option<Timestamp>,
    /// Number of times that it was taken.
    fence: i64,
    /// The latest holder, unless that was an instance of the first form.
    #[serde(default)]
    holder: Option<Holder>,
    /// How far messages are indexed again; none where they never had to be.
    #[serde(default)]
    again: Option<Again>,
}

/// The form of terms that a holder writes.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Holder {
    form: i32,
    fence: i64,
}

impl LeaseRow {
    /// The form that its last holder wrote.
    fn form(&self) -> i32 {
        self.holder.filter(|holder| holder.fence == self.fence).map_or(1, |holder| holder.form)
    }
}

/// Where the messages begin that are yet to be indexed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// Which shard.
    pub(super) shard: usize,
    /// After which message of it.
    #[serde(with = "optional_id", default)]
    pub(super) after: Option<MessageId>,
}

impl Again {
    /// From the first message on.
    const ALL: Self = Self { shard: 0, after: None };

    /// The place after a message of the same shard.
    #[must_use]
    pub fn after(self, message: MessageId) -> Self {
        Self { after: Some(message), ..self }
    }

    fn stored(self) -> Document {
        let shard = int(self.shard);
        let mut stored = doc! { "shard": shard };
        if let Some(after) = self.after {
            stored.insert("after", after);
        }
        stored
    }
}

/// The right to fill the index, as long as nobody has taken it since.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    fence: i64,
    /// From where on messages are to be indexed again.
    pub again: Option<Again>,
}

impl Indexing {
    /// Takes the lease unless somebody holds it who writes the same terms.
    pub async fn take(&self, now: Timestamp) -> Result<Option<Lease>> {
        let row = within(&self.leases, self.leases.find_one(doc! { "_id": "search" })).await?;
        let form = row.as_ref().map_or(FORM, LeaseRow::form);
        // A later end is of before the clock was set back.
        let latest = now.plus(TERM).plus(CLOCK_TOLERANCE);
        let until = row.as_ref().and_then(|row| row.until);
        let held = until.is_some_and(|until| until > now && until <= latest);
        if held && form >= FORM {
            return Ok(None);
        }
        // Where someone else is first, the upsert tries to insert a second row.
        let mut own = doc! { "_id": "search", "fence": { "$exists": false } };
        if let Some(row) = &row {
            own.insert("fence", row.fence);
        }
        if form >= FORM {
            let free = vec![
                doc! { "until": { "$exists": false } },
                doc! { "until": { "$lte": now } },
                doc! { "until": { "$gt": latest } },
            ];
            own.insert("$or", free);
        }
        let fence = row.as_ref().map_or(1, |row| row.fence + 1);
        let mut set = doc! {
            "fence": fence, "until": now.plus(TERM), "holder": { "form": FORM, "fence": fence },
        };
        if form != FORM {
            set.insert("again", Again::ALL.stored());
        }
        let take = self.leases.find_one_and_update(own, doc! { "$set": set });
        let take = take.upsert(row.is_none()).return_document(ReturnDocument::After);
        match within_raw(&self.leases, take).await? {
            Ok(row) => Ok(row.map(|row| {
                let again = row.again.filter(|again| !self.is_past(*again));
                Lease { fence: row.fence, again }
            })),
            Err(error) if duplicate(&error).is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the lease; whether it still stood.
    pub async fn renew(&self, lease: Lease, now: Timestamp) -> Result<bool> {
        let (own, change) = renewal(lease, now, None);
        Ok(within(&self.leases, self.leases.update_one(own, change)).await?.matched_count == 1)
    }

    /// Gives the lease back, so that others need not wait for its end.
    pub async fn give_back(&self, lease: Lease) -> Result<()> {
        let own = doc! { "_id": "search", "fence": lease.fence };
        let change = doc! { "$unset": { "until": "" } };
        within(&self.leases, self.leases.update_one(own, change)).await?;
        Ok(())
    }
}

pub(super) fn renewal(lease: Lease, now: Timestamp, again: Option<Again>) -> (Document, Document) {
    let own = doc! { "_id": "search", "fence": lease.fence };
    let mut set = doc! { "until": now.plus(TERM) };
    if let Some(again) = again {
        set.insert("again", again.stored());
    }
    (own, doc! { "$set": set })
}
