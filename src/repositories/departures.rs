//! Deleted accounts that have left something behind: a flag in their rows, until their job
//! (`services/jobs/account_cleanup.rs`) has removed it all.

use std::collections::HashSet;

use mongodb::bson::doc;
use serde::Deserialize;

use super::bson::{date, id};
use super::rows;
use super::store::{Collection, Store, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::repositories::rows::reactions;

/// Reactions of which it is noted in one go whose they are.
const NAMED_AT_ONCE: usize = 500;

/// The flags in `users`, and reactions that do not say whose they are.
#[derive(Debug, Clone)]
pub struct Departures {
    store: Store,
    users: Collection<Departed>,
}

/// An account that was deleted and has left something behind.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Departed {
    /// Whose it was.
    #[serde(rename = "_id", with = "id")]
    pub user: UserId,
    /// Since when it is gone.
    #[serde(rename = "deleted_at", with = "date")]
    pub at: Timestamp,
}

impl Departures {
    /// The departures of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), users: rows::users::Users::collection(store) }
    }

    /// Accounts that were deleted before `before` and have something left, the first of them
    /// first; at most `limit`.
    pub async fn unfinished(&self, before: Timestamp, limit: i64) -> Result<Vec<Departed>> {
        let flagged = doc! { "cleanup": true, "deleted_at": { "$lte": before } };
        let fields = doc! { "deleted_at": 1 };
        let rows = self.users.find(flagged).sort(doc! { "deleted_at": 1 });
        all(&self.users, rows.projection(fields).limit(limit)).await
    }

    /// Notes that nothing is left.
    pub async fn finish(&self, user: UserId) -> Result<()> {
        let done = doc! { "$unset": { "cleanup": "" } };
        within(&self.users, self.users.update_one(doc! { "_id": user, "cleanup": true }, done))
            .await?;
        Ok(())
    }

    /// Notes of some reactions that an earlier natter has stored whose they are, and flags the
    /// deleted accounts among those users; whether there were any. Until there are none, it is not
    /// known of anyone that no reaction is left.
    pub async fn name_reactions(&self) -> Result<bool> {
        let keys = self.store.reactions().unnamed(NAMED_AT_ONCE).await?;
        if keys.is_empty() {
            return Ok(false);
        }
        // Before they have a name, by which they would not be found again after a crash.
        let users = keys.iter().map(reactions::user_of).collect::<Result<HashSet<UserId>>>()?;
        let users: Vec<UserId> = users.into_iter().collect();
        let gone = doc! { "_id": { "$in": users }, "deleted_at": { "$type": "date" } };
        let flag = doc! { "$set": { "cleanup": true } };
        within(&self.users, self.users.update_many(gone, flag)).await?;
        self.store.reactions().name(&keys).await?;
        Ok(true)
    }
}
