//! Mailed tokens: a row for each that is unused, under its hash.

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, id};
use super::store::{Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::Email;
use crate::error::Result;

/// The collection `tokens`.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub(super) rows: Collection<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id")]
    pub digest: mongodb::bson::Binary,
    /// What it is good for.
    pub kind: String,
    #[serde(with = "id")]
    pub user_id: UserId,
    /// The key of the address that it was mailed to, which is what using it proves.
    pub email_key: String,
    #[serde(with = "date")]
    pub expires_at: Timestamp,
}

impl Tokens {
    /// The tokens of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("tokens") }
    }

    /// Keeps a token that verifies an address; again changes nothing.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn keep(
        &self,
        digest: [u8; 32],
        user: UserId,
        email: &Email,
        expires_at: Timestamp,
    ) -> Result<()> {
        let row = doc! {
            "kind": VERIFY, "user_id": user, "email_key": email.key(), "expires_at": expires_at,
        };
        let key = doc! { "_id": binary(digest) };
        let kept = self.rows.update_one(key, doc! { "$setOnInsert": row }).upsert(true);
        within(kept).await?;
        Ok(())
    }

    /// Whether a user has an unused token for an address that is good past `at`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn lasts(&self, user: UserId, email: &Email, at: Timestamp) -> Result<bool> {
        let token = doc! {
            "user_id": user, "kind": VERIFY, "email_key": email.key(), "expires_at": { "$gt": at },
        };
        Ok(within(self.rows.find_one(token)).await?.is_some())
    }
}

/// The kind of token that verifies an address.
pub(super) const VERIFY: &str = "verify";

/// The unused token of this kind and hash, while it is good.
pub(super) fn good(kind: &str, digest: [u8; 32], now: Timestamp) -> Document {
    doc! { "_id": binary(digest), "kind": kind, "expires_at": { "$gt": now } }
}
