//! Enqueueing jobs, and ending those that others wait behind: within a transaction.

use mongodb::bson::doc;

use super::{Claim, Jobs, NAME, Row, State, Which, buried, payload_of};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{JobId, UserId};
use crate::domain::jobs::{Enqueue, Job, JobState};
use crate::error::Result;
use crate::store::{Tx, again_if_taken};

/// Dead letters that one transaction enqueues again.
const RETRY_BATCH: usize = 100;

/// The collection `jobs`, as a transaction changes it.
pub struct Queue<'a>(&'a mut Tx);

impl<'a> Queue<'a> {
    pub(in super::super) fn new(tx: &'a mut Tx) -> Self {
        Self(tx)
    }

    fn jobs(&mut self) -> Jobs<'_> {
        Jobs::new(self.0.table(NAME))
    }

    /// Enqueues a job; its workers in this instance wake as soon as the transaction is committed.
    /// `false` if one with its deduplication key waits already.
    pub async fn enqueue<J: Job>(&mut self, job: &J, how: Enqueue) -> Result<bool> {
        let in_kind = |key: String| format!("{}/{key}", J::KIND);
        let (dedup_key, order_key) = (how.dedup_key.map(in_kind), how.order_key.map(in_kind));
        if let Some(key) = &dedup_key {
            let twin = doc! { "dedup_key": key };
            // Written, so that a worker that claims it at this moment conflicts.
            let merged = doc! { "$inc": { "merged": 1_i64 } };
            if self.jobs().0.update(twin, merged).await? {
                return Ok(false);
            }
        }
        let lifetime = J::RETRY.lifetime.map(|lifetime| how.at.plus(lifetime));
        let is_later = how.due.is_some_and(|due| due > how.at);
        let row = Row {
            id: how.id,
            kind: J::KIND.to_owned(),
            payload: payload_of(job)?,
            state: if is_later { State::Scheduled } else { State::Waiting },
            attempts: 0,
            enqueued_at: how.at,
            due_at: Some(how.due.unwrap_or(how.at)),
            died_at: None,
            expires_at: how.expires_at.or(lifetime),
            user_id: how.owner,
            dedup_key,
            order_key,
            order_seq: None,
            order_tail: None,
            fence: None,
            error: None,
        };
        self.0.wake(J::KIND);
        self.insert(row).await.map(|()| true)
    }

    /// Inserts a row; one with an order key behind the others of that key.
    async fn insert(&mut self, mut row: Row) -> Result<()> {
        if let Some(key) = &row.order_key {
            let head = doc! { "order_key": key, "order_tail": { "$exists": true } };
            let counted = doc! { "$inc": { "order_tail": 1_i64 } };
            if let Some(head) = self.jobs().0.change(head, counted).await? {
                (row.state, row.order_seq) = (State::Blocked, head.order_tail);
            } else {
                (row.order_seq, row.order_tail) = (Some(0), Some(0));
            }
        }
        self.jobs().0.insert(row).await.map_err(again_if_taken)
    }

    /// As [`Jobs::remove`], for a job that others may wait behind.
    pub async fn remove(&mut self, claim: &Claim) -> Result<bool> {
        let Some(row) = self.jobs().0.take(claim.own()).await? else { return Ok(false) };
        self.release(&row).await.map(|()| true)
    }

    /// As [`Jobs::bury`], for a job that others may wait behind.
    pub async fn bury(&mut self, claim: &Claim, error: &str, now: Timestamp) -> Result<bool> {
        let Some(row) = self.jobs().0.one(claim.own()).await? else { return Ok(false) };
        self.jobs().0.update(claim.own(), buried(error, now)).await?;
        self.release(&row).await.map(|()| true)
    }

    /// Lets the next job of an order key run, where this row was the head of one.
    async fn release(&mut self, head: &Row) -> Result<()> {
        let (Some(key), Some(tail)) = (&head.order_key, head.order_tail) else { return Ok(()) };
        let next = doc! { "order_key": key, "state": "blocked" };
        let free = doc! { "$set": { "state": "waiting", "order_tail": tail } };
        let next = self.jobs().0.sorted(doc! { "order_seq": 1 }).change(next, free).await?;
        if next.is_some() {
            self.0.wake(&head.kind);
        }
        Ok(())
    }

    /// Whether there is a job of this id, whatever its state.
    pub async fn has(&mut self, job: JobId) -> Result<bool> {
        Ok(self.jobs().0.first(1).count(doc! { "_id": job }).await? > 0)
    }

    /// Notes with whose account a job is deleted.
    pub async fn give_to(&mut self, job: JobId, user: UserId) -> Result<()> {
        let owner = doc! { "$set": { "user_id": user } };
        self.jobs().0.update(doc! { "_id": job }, owner).await.map(drop)
    }

    /// Deletes the jobs of an account.
    pub async fn delete_of(&mut self, user: UserId) -> Result<()> {
        while let Some(row) = self.jobs().0.take(doc! { "user_id": user }).await? {
            self.release(&row).await?;
        }
        Ok(())
    }

    /// Deletes a job, whatever its state; `false` if there is none of this id.
    pub async fn delete(&mut self, job: JobId) -> Result<bool> {
        let Some(row) = self.jobs().0.take(doc! { "_id": job }).await? else { return Ok(false) };
        self.release(&row).await.map(|()| true)
    }

    /// Enqueues a dead letter again, behind those of its order key; `false` if there is none of
    /// this id.
    pub async fn revive(&mut self, job: JobId, now: Timestamp) -> Result<bool> {
        let dead = doc! { "_id": job, "state": "dead" };
        let Some(row) = self.jobs().0.take(dead).await? else { return Ok(false) };
        self.wake_and_insert(row, now).await.map(|()| true)
    }

    /// Enqueues dead letters of a kind again: how many. There may be more.
    pub async fn revive_some(&mut self, kind: &str, now: Timestamp) -> Result<usize> {
        let which = Which { kind: Some(kind), state: Some(JobState::Dead) };
        let dead = self.jobs().0.first(RETRY_BATCH).all(which.filter()).await?;
        let count = dead.len();
        for row in dead {
            self.revive(row.id, now).await?;
        }
        Ok(count)
    }

    async fn wake_and_insert(&mut self, row: Row, now: Timestamp) -> Result<()> {
        self.0.wake(&row.kind);
        let (state, due_at, died_at) = (State::Waiting, Some(now), None);
        self.insert(Row { state, attempts: 0, due_at, died_at, ..row }).await
    }
}
