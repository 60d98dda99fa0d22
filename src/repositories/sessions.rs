//! Sessions: one row per signed-in device. An ended session has no row.

use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::error::Result;
use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::store::{Store, within};

/// The collection `sessions`.
#[derive(Debug, Clone)]
pub struct Sessions {
    rows: Collection<Document>,
}

impl Sessions {
    /// The sessions of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("sessions") }
    }

    /// Whether the session of this user stands at that time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn is_alive(&self, session: SessionId, user: UserId, now: Timestamp) -> Result<bool> {
        let alive = doc! { "_id": session, "user_id": user, "expires_at": { "$gt": now } };
        let row = self.rows.find_one(alive).projection(doc! { "_id": 1 });
        Ok(within(row).await?.is_some())
    }
}
