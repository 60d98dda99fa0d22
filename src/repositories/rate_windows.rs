//! Limits over hours and days, counted in the transaction of the change that they limit: they
//! hold exactly, across instances, and outlive Redis.

use std::time::Duration;

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::bson::{binary, date};
use super::store::{Collection, Store, Tx, again_if_taken};
use crate::domain::clock::Timestamp;
use crate::error::{Error, Result};

/// A subject of a limit: a keyed hash, so that the rows list neither addresses nor accounts.
pub type WindowKey = [u8; 32];

/// At most `most` times in any `window`, for one subject.
#[derive(Debug, Clone, Copy)]
pub struct RateRule {
    /// The subject.
    pub key: WindowKey,
    /// How many times; the row keeps as many moments.
    pub most: usize,
    /// In how long.
    pub window: Duration,
}

/// The collection `rate_windows`.
#[derive(Debug, Clone)]
pub struct RateWindows {
    rows: Collection<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    times: Vec<Moment>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Moment {
    #[serde(with = "date")]
    at: Timestamp,
}

impl RateWindows {
    /// The windows of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("rate_windows") }
    }

    /// Counts one more, if the transaction commits. `Some` if there were as many as may be, and
    /// then how long the subject has to wait.
    pub(super) async fn take(
        &self,
        rule: &RateRule,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<Option<Duration>> {
        let id = doc! { "_id": binary(rule.key) };
        let row = self.rows.find_one(id.clone()).session(tx.session()).await?;
        let mut times = row.map(|row| row.times).unwrap_or_default();
        times.retain(|moment| moment.at > now.minus(rule.window));
        if let Some(oldest) = times.first().filter(|_| times.len() >= rule.most) {
            let wait = oldest.at.plus(rule.window).since(now);
            return Ok(Some(wait.max(Duration::from_secs(1))));
        }
        times.push(Moment { at: now });
        let times = times.iter().map(|moment| doc! { "at": moment.at }).collect::<Vec<_>>();
        let set = doc! { "$set": { "times": times, "expires_at": now.plus(rule.window) } };
        let written = self.rows.update_one(id, set).upsert(true).session(tx.session()).await;
        written.map_err(again_if_taken)?;
        Ok(None)
    }

    /// As [`take`](Self::take); past the limit the transaction ends with 429 `rate_limited`.
    pub(super) async fn take_or_refuse(
        &self,
        rule: &RateRule,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<()> {
        match self.take(rule, now, tx).await? {
            None => Ok(()),
            Some(wait) => Err(Error::limited("rate_limited", wait)),
        }
    }

    /// Forgets what was counted.
    pub(super) async fn release(&self, key: WindowKey, tx: &mut Tx) -> Result<()> {
        self.rows.delete_one(doc! { "_id": binary(key) }).session(tx.session()).await?;
        Ok(())
    }
}
