//! The lease: which of several instances makes collections and indexes, kept in a row of `meta`.
//!
//! It ends by itself when its holder is silent for [`TERM`]. Every holder has a higher fence than
//! those before, and only writes where its own still stands. A holder that wakes up too late can
//! do no harm either way: all it does is make what is missing, and set validators.

use std::time::Duration;

use mongodb::bson::{Binary, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::definition::fingerprint;
use super::{Applied, By, SchemaError};
use crate::domain::clock::{CLOCK_TOLERANCE, Clock, Timestamp};
use crate::error::Result;
use crate::store::bson::{binary, optional_date};
use crate::store::{Collection, META, Store, duplicate, within, within_raw};

/// How long a silent holder keeps the lease.
const TERM: Duration = Duration::from_secs(30);

/// How many sets of definitions are remembered as superseded.
const REMEMBERED: usize = 100;

/// How often a holder says that it is still there.
const RENEWAL: Duration = Duration::from_secs(10);

/// The row `schema` of `meta`, as far as it is there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct State {
    /// Number of message collections, fixed by the first holder of all.
    pub shards: Option<u32>,
    /// Fingerprint of the definitions applied last.
    applied: Option<Binary>,
    /// Fingerprints of those applied before, the latest last.
    #[serde(default)]
    superseded: Vec<Binary>,
    /// Until when the lease is held; none when nobody holds it.
    #[serde(with = "optional_date", default)]
    until: Option<Timestamp>,
    /// Number of times that the lease was taken.
    #[serde(default)]
    fence: i64,
}

impl State {
    /// Whether nobody is at work.
    pub fn is_free(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now || until > latest(now))
    }

    /// Whether the definitions of this instance were the last to be applied.
    pub fn is_applied(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.bytes == fingerprint())
    }

    /// Whether others have been applied after those of this instance, which is an older one then.
    pub fn is_superseded(&self) -> bool {
        self.superseded.iter().any(|before| before.bytes == fingerprint())
    }

    /// What is superseded once the definitions of this instance are applied.
    fn superseded_then(self) -> Vec<Binary> {
        let mut all = self.superseded;
        all.extend(self.applied);
        all.retain(|before| before.bytes != fingerprint());
        all.drain(..all.len().saturating_sub(REMEMBERED));
        all
    }
}

/// The latest end of a lease that is held now: a later one is of before the clock was set back.
fn latest(now: Timestamp) -> Timestamp {
    now.plus(TERM).plus(CLOCK_TOLERANCE)
}

/// The row and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    rows: Collection<State>,
}

impl Lease {
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection(META) }
    }

    /// The row as it is.
    pub async fn state(&self) -> Result<State> {
        let row = within(&self.rows, self.rows.find_one(doc! { "_id": "schema" })).await?;
        Ok(row.unwrap_or_default())
    }

    /// Takes the lease unless somebody holds it, or the database has another number of shards;
    /// on a new database that number is fixed by this.
    pub async fn take(&self, shards: u32, clock: &Clock, by: By) -> Result<Option<Held>> {
        let now = clock.now();
        let free = doc! { "_id": "schema", "shards": shards, "$or": [
            { "until": { "$exists": false } },
            { "until": { "$lte": now } },
            { "until": { "$gt": latest(now) } },
        ] };
        let change = doc! {
            "$inc": { "fence": 1_i64 },
            "$set": { "until": now.plus(TERM) },
        };
        let take = self.rows.find_one_and_update(free, change).upsert(true);
        match within_raw(&self.rows, take.return_document(ReturnDocument::After)).await? {
            Ok(Some(row)) => {
                let (rows, fence) = (self.rows.clone(), row.fence);
                let is_outdated = by == By::Start && row.is_superseded();
                let superseded = (!is_outdated).then(|| row.superseded_then());
                Ok(Some(Held { rows, fence, superseded }))
            }
            Ok(None) => Ok(None),
            // The row is there and is not such, so that the upsert tried to insert a second one.
            Err(error) if duplicate(&error).is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The lease, held.
#[derive(Debug)]
pub(super) struct Held {
    rows: Collection<State>,
    fence: i64,
    /// What is superseded once the work is done; `None` for an outdated holder, whose definitions
    /// do not become those applied last.
    superseded: Option<Vec<Binary>>,
}

impl Held {
    /// Whether newer definitions have been applied, as the lease was taken.
    pub fn is_outdated(&self) -> bool {
        self.superseded.is_none()
    }

    /// Runs `work`, renewing the lease as long as it lasts, then notes what was applied and gives
    /// the lease back; also when `work` fails, so that others need not wait for its end.
    pub async fn run(
        self,
        work: impl Future<Output = Result<Applied, SchemaError>>,
        clock: &Clock,
    ) -> Result<Applied, SchemaError> {
        let outcome = tokio::select! {
            outcome = work => outcome,
            error = self.renew(clock) => Err(error),
        };
        let mut change = doc! { "$unset": { "until": "" } };
        if let (Ok(_), Some(superseded)) = (&outcome, &self.superseded) {
            let applied = doc! {
                "applied": binary(fingerprint()), "superseded": superseded, "at": clock.now(),
            };
            change.insert("$set", applied);
        }
        let returned = self.write(change).await;
        let applied = outcome?;
        returned?;
        Ok(applied)
    }

    /// Renews the lease until that fails.
    async fn renew(&self, clock: &Clock) -> SchemaError {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let until = clock.now().plus(TERM);
            if let Err(error) = self.write(doc! { "$set": { "until": until } }).await {
                return error;
            }
        }
    }

    /// Changes the row, provided that nobody has taken the lease since.
    async fn write(&self, change: Document) -> Result<(), SchemaError> {
        let own = doc! { "_id": "schema", "fence": self.fence };
        let written = within(&self.rows, self.rows.update_one(own, change)).await?;
        if written.matched_count == 0 { Err(SchemaError::Overtaken) } else { Ok(()) }
    }
}
