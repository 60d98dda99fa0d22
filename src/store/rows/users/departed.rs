//! Deleted accounts that have left something behind: a flag in their rows, until their job
//! (`services/jobs/account_cleanup.rs`) has removed it all.

use mongodb::bson::doc;
use serde::Deserialize;

use super::Users;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::store::bson::{date, id};

/// An account that was deleted and has left something behind.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Departed {
    /// The account.
    #[serde(rename = "_id", with = "id")]
    pub user: UserId,
    /// Since when it is gone.
    #[serde(rename = "deleted_at", with = "date")]
    pub at: Timestamp,
}

impl Users<'_> {
    /// Accounts that were deleted before `before` and have something left, the first of them
    /// first; at most `limit`.
    pub async fn departed(self, before: Timestamp, limit: usize) -> Result<Vec<Departed>> {
        let flagged = doc! { "cleanup": true, "deleted_at": { "$lte": before } };
        let rows = self.0.only::<Departed>(doc! { "deleted_at": 1 });
        rows.sorted(doc! { "deleted_at": 1 }).first(limit).all(flagged).await
    }

    /// Notes of the deleted ones among some accounts that they have left something.
    pub async fn flag_departed(self, users: &[UserId]) -> Result<()> {
        let gone = doc! { "_id": { "$in": users.to_vec() }, "deleted_at": { "$type": "date" } };
        self.0.update_all(gone, doc! { "$set": { "cleanup": true } }).await.map(|_| ())
    }

    /// Notes that a deleted account has left nothing more.
    pub async fn finish_departure(self, user: UserId) -> Result<()> {
        let flagged = doc! { "_id": user, "cleanup": true };
        self.0.update(flagged, doc! { "$unset": { "cleanup": "" } }).await.map(|_| ())
    }
}
