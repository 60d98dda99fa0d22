//! Names that were given up by renaming, each held for its former owner for a while.
//!
//! A name is taken in a transaction that looks for its row here. Between the account that has the
//! name and the row that holds it there is no moment: the transaction that gives it up writes both,
//! and one that began before it still finds the name at the account, under a unique key.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::store::bson::{date, id};
use crate::store::{Table, again_if_taken};

/// A name that is held.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeldName {
    /// The unique key of the name.
    #[serde(rename = "_id")]
    pub key: String,
    /// The former owner.
    #[serde(rename = "user_id", with = "id")]
    pub owner: UserId,
    /// From when on anyone may have it.
    #[serde(with = "date")]
    pub until: Timestamp,
}

/// The collection `held_names`, for one command.
pub struct HeldNames<'a>(Table<'a, HeldName>);

impl<'a> HeldNames<'a> {
    pub(super) fn new(table: Table<'a, HeldName>) -> Self {
        Self(table)
    }

    /// The name with this key, if someone gave it up.
    pub async fn find(self, key: &str) -> Result<Option<HeldName>> {
        self.0.one(doc! { "_id": key }).await
    }

    /// Names that are held for an account at `now`, those held longest first; at most `limit`.
    pub async fn of(self, owner: UserId, now: Timestamp, limit: usize) -> Result<Vec<HeldName>> {
        let own = doc! { "user_id": owner, "until": { "$gt": now } };
        self.0.sorted(doc! { "until": 1 }).first(limit).all(own).await
    }

    /// Holds a name, whoever it was held for.
    pub async fn put(self, name: HeldName) -> Result<()> {
        self.0.put(doc! { "_id": &name.key }, name).await.map_err(again_if_taken)
    }

    /// Forgets a name.
    pub async fn delete(self, key: &str) -> Result<()> {
        self.0.delete(doc! { "_id": key }).await.map(|_| ())
    }
}
