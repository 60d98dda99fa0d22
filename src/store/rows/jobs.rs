//! Background jobs: a row each until it is done. `crate::jobs` runs them.
//!
//! Of the jobs with one `order_key` only the head can be claimed: the one row that has an
//! `order_tail`, the number of the job enqueued last. Enqueueing and finishing both write the
//! head, so that they conflict, and no job is left blocked behind one that is gone.

mod census;
pub mod queue;

use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::{Timestamp, random_bytes};
use crate::domain::ids::{JobId, UserId};
use crate::domain::jobs::{Attempt, Job, JobError, JobState, ListedJob, PeriodicJob};
use crate::error::{Error, Result};
use crate::store::bson::{date, id, optional_date, optional_id, raw};
use crate::store::{Table, duplicate_of};

/// The name of the collection.
pub(super) const NAME: &str = "jobs";

/// The state of a job, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Enqueued for a later moment.
    Scheduled,
    /// Due, or waiting after a failure.
    Waiting,
    /// Behind another one of its order key.
    Blocked,
    /// In the hands of an instance until `due_at`.
    Running,
    Dead,
}

impl State {
    fn shown(self) -> JobState {
        match self {
            Self::Scheduled | Self::Waiting | Self::Blocked => JobState::Waiting,
            Self::Running => JobState::Running,
            Self::Dead => JobState::Dead,
        }
    }
}

/// The states, as stored, that operators see as this one.
fn stored(state: JobState) -> &'static [&'static str] {
    match state {
        JobState::Waiting => &["scheduled", "waiting", "blocked"],
        JobState::Running => &["running"],
        JobState::Dead => &["dead"],
    }
}

/// A row of `jobs`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id", with = "id")]
    id: JobId,
    kind: String,
    payload: Document,
    state: State,
    attempts: i32,
    #[serde(with = "date")]
    enqueued_at: Timestamp,
    /// When the job may be claimed; of a running one, when its lease ends. A dead one has none.
    #[serde(with = "optional_date", default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(with = "optional_date", default, skip_serializing_if = "Option::is_none")]
    died_at: Option<Timestamp>,
    #[serde(with = "optional_date", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// The account that the job is deleted with.
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    /// The kind and a key, unique among jobs that were never claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dedup_key: Option<String>,
    /// The kind and a key: without the kind, the index `due` would do as well for the planner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_seq: Option<i64>,
    /// Of the head of an order key: the `order_seq` of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_tail: Option<i64>,
    /// Of a running job: what its holder must name to change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<Binary>,
    /// Why the last run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row {
    fn attempts(&self) -> u32 {
        u32::try_from(self.attempts).unwrap_or(u32::MAX)
    }
}

/// A job in the hands of this instance, until its lease ends.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run.
    pub attempt: Attempt,
    payload: Document,
    fence: Option<Binary>,
    order_key: Option<String>,
}

impl Claim {
    /// The subject of the job.
    ///
    /// # Errors
    /// A final one when the payload is not one of this kind.
    pub fn payload<J: Job>(&self) -> Result<J, JobError> {
        mongodb::bson::deserialize_from_document(self.payload.clone())
            .map_err(|_| JobError::last("the payload is not one of this kind"))
    }

    /// Whether others of its order key may wait behind it.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.order_key.is_some()
    }

    /// The row, as long as no other instance has claimed it.
    fn own(&self) -> Document {
        doc! { "_id": self.attempt.id, "fence": self.fence.clone() }
    }
}

impl From<Row> for Claim {
    fn from(row: Row) -> Self {
        let attempt = Attempt {
            id: row.id,
            number: row.attempts(),
            enqueued_at: row.enqueued_at,
            expires_at: row.expires_at,
            owner: row.user_id,
        };
        let Row { payload, fence, order_key, .. } = row;
        Self { attempt, payload, fence, order_key }
    }
}

impl From<Row> for ListedJob {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            state: row.state.shown(),
            attempts: row.attempts(),
            enqueued_at: row.enqueued_at,
            at: row.due_at.or(row.died_at).unwrap_or(row.enqueued_at),
            kind: row.kind,
            error: row.error,
        }
    }
}

/// The next step of a claimed job that is not done.
#[derive(Debug, Clone)]
pub struct Later {
    /// When it may be claimed again.
    pub at: Timestamp,
    /// Why the run failed; `None` where it did not, and counting begins anew.
    pub error: Option<String>,
}

/// The jobs in some states, of one kind or all.
#[derive(Debug, Clone, Copy)]
pub struct Which<'a> {
    /// `None` for all kinds.
    pub kind: Option<&'a str>,
    /// `None` for all states.
    pub state: Option<JobState>,
}

impl Which<'_> {
    fn filter(self) -> Document {
        let mut filter = Document::new();
        if let Some(kind) = self.kind {
            filter.insert("kind", kind);
        }
        if let Some(state) = self.state {
            filter.insert("state", doc! { "$in": stored(state) });
        }
        filter
    }
}

/// The collection `jobs`, for one command.
pub struct Jobs<'a>(Table<'a, Row>);

impl<'a> Jobs<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Claims the job of a kind that has been due longest, until `until`; `None` when none is. A
    /// job whose holder has not settled or renewed it in time goes to the next that asks.
    pub async fn claim(
        self,
        kind: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Claim>> {
        let due = doc! {
            "kind": kind,
            "state": { "$in": ["scheduled", "waiting", "running"] },
            "due_at": { "$lte": now },
        };
        let change = doc! {
            "$set": { "state": "running", "due_at": until, "fence": raw(random_bytes::<16>()) },
            "$inc": { "attempts": 1 },
            "$unset": { "dedup_key": "" },
        };
        Ok(self.0.sorted(doc! { "due_at": 1 }).change(due, change).await?.map(Claim::from))
    }

    /// Holds a claimed job until `until`; `false` if another instance has it.
    pub async fn renew(self, claim: &Claim, until: Timestamp) -> Result<bool> {
        self.0.update(claim.own(), doc! { "$set": { "due_at": until } }).await
    }

    /// Removes a claimed job that no other waits behind; `false` if another instance has it.
    pub async fn remove(self, claim: &Claim) -> Result<bool> {
        Ok(self.0.take(claim.own()).await?.is_some())
    }

    /// Gives a claimed job back, to be run later; `false` if another instance has it.
    pub async fn put_back(self, claim: &Claim, later: Later) -> Result<bool> {
        let mut set = doc! { "state": "waiting", "due_at": later.at };
        let mut unset = doc! { "fence": "" };
        if let Some(error) = later.error {
            set.insert("error", error);
        } else {
            set.insert("attempts", 0);
            unset.insert("error", "");
        }
        self.0.update(claim.own(), doc! { "$set": set, "$unset": unset }).await
    }

    /// Makes a claimed job that no other waits behind a dead letter; `false` if another instance
    /// has it.
    pub async fn bury(self, claim: &Claim, error: &str, now: Timestamp) -> Result<bool> {
        self.0.update(claim.own(), buried(error, now)).await
    }

    /// Makes the one row of a periodic kind, due now, unless it is there.
    pub async fn begin_periodic<J: PeriodicJob>(self, job: &J, now: Timestamp) -> Result<()> {
        let id = JobId::named(&["periodic", J::KIND]);
        let row = doc! {
            "kind": J::KIND, "payload": payload_of(job)?, "state": "waiting", "attempts": 0,
            "enqueued_at": now, "due_at": now,
        };
        let made = self.0.upsert(doc! { "_id": id }, doc! { "$setOnInsert": row }).await;
        match made {
            // Another instance was faster.
            Err(error) if duplicate_of(&error).is_some() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Makes jobs due whose wait ends after `latest`: it was planned before the clock was set back.
    pub async fn recover(self, kind: &str, latest: Timestamp, now: Timestamp) -> Result<u64> {
        let planned = doc! {
            "kind": kind, "state": { "$in": ["waiting", "running"] }, "due_at": { "$gt": latest },
        };
        self.0.update_all(planned, doc! { "$set": { "due_at": now } }).await
    }

    /// Jobs, by kind and the moment they are due or died; at most `count`.
    pub async fn list(self, which: Which<'_>, count: usize) -> Result<Vec<ListedJob>> {
        let order = doc! { "kind": 1, "state": 1, "due_at": 1 };
        let rows = self.0.sorted(order).first(count).all(which.filter()).await?;
        Ok(rows.into_iter().map(ListedJob::from).collect())
    }

    /// Removes dead letters that died before `before`, or have expired.
    pub async fn forget_dead(self, before: Timestamp, now: Timestamp) -> Result<u64> {
        let old = doc! { "died_at": { "$lt": before } };
        let expired = doc! { "died_at": { "$lte": now }, "expires_at": { "$lte": now } };
        self.0.delete_all(doc! { "$or": [old, expired] }).await
    }
}

/// The change that makes a job a dead letter.
fn buried(error: &str, now: Timestamp) -> Document {
    doc! {
        "$set": { "state": "dead", "died_at": now, "error": error },
        "$unset": { "fence": "", "due_at": "", "order_tail": "", "order_seq": "" },
    }
}

/// A payload as it is stored.
pub(super) fn payload_of<J: Job>(job: &J) -> Result<Document> {
    match mongodb::bson::serialize_to_bson(job).map_err(Error::internal)? {
        Bson::Document(payload) => Ok(payload),
        _ => Err(Error::internal("the payload of a job is a struct with named fields")),
    }
}
