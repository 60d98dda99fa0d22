//! Moments that count towards a [rate rule](crate::domain::rate_rules): one row for each subject.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::rate_rules::WindowKey;
use crate::error::Result;
use crate::store::bson::{binary, date};
use crate::store::{RowUpdate, Table};

/// A row of `rate_windows`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct Row {
    times: Vec<Moment>,
}

#[derive(Debug, Deserialize)]
struct Moment {
    #[serde(with = "date")]
    at: Timestamp,
}

/// The collection `rate_windows`, for one command.
pub struct RateWindows<'a>(Table<'a, Row>);

impl<'a> RateWindows<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The moments that are noted, the oldest first.
    pub async fn times(self, key: WindowKey) -> Result<Vec<Timestamp>> {
        let row = self.0.one(doc! { "_id": binary(key) }).await?;
        Ok(row.map(|row| row.times.iter().map(|moment| moment.at).collect()).unwrap_or_default())
    }

    /// Notes these moments and no others.
    pub async fn set(
        self,
        key: WindowKey,
        times: &[Timestamp],
        expires_at: Timestamp,
    ) -> Result<()> {
        let times: Vec<Document> = times.iter().map(|at| doc! { "at": *at }).collect();
        let set = doc! { "$set": { "times": times, "expires_at": expires_at } };
        let row = doc! { "_id": binary(key) };
        self.0.update_each(vec![RowUpdate::of(row, set).or_insert()]).await
    }

    /// Forgets all moments.
    pub async fn forget(self, key: WindowKey) -> Result<()> {
        self.0.delete(doc! { "_id": binary(key) }).await.map(|_| ())
    }
}
