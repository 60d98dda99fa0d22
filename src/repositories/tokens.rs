//! Mailed tokens: a row for each that is unused, under its hash.

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, id};
use super::store::{Collection, Store, within};
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

    /// Whether a token can be used.
    pub async fn is_good(&self, digest: [u8; 32], now: Timestamp) -> Result<bool> {
        let token = doc! { "_id": binary(digest), "expires_at": { "$gt": now } };
        Ok(within(&self.rows, self.rows.find_one(token)).await?.is_some())
    }

    /// Whose password a token can set anew; `None` if it cannot be used.
    pub async fn reset_for(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<UserId>> {
        let token = within(&self.rows, self.rows.find_one(good(RESET, digest, now))).await?;
        Ok(token.map(|token| token.user_id))
    }

    /// Whose change of address a token can undo; `None` if it cannot be used.
    pub async fn undo_for(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<UserId>> {
        let token = within(&self.rows, self.rows.find_one(good(UNDO, digest, now))).await?;
        Ok(token.map(|token| token.user_id))
    }

    /// Whether a user has an unused token for an address that is good past `at`.
    pub async fn lasts(&self, user: UserId, email: &Email, at: Timestamp) -> Result<bool> {
        let token = doc! {
            "user_id": user, "kind": VERIFY, "email_key": email.key(), "expires_at": { "$gt": at },
        };
        Ok(within(&self.rows, self.rows.find_one(token)).await?.is_some())
    }
}

/// The kind of token that verifies an address.
pub(super) const VERIFY: &str = "verify";

/// The kind of token that sets a new password.
pub(super) const RESET: &str = "reset";

/// The kind of token that undoes a change of address.
pub(super) const UNDO: &str = "undo_email";

/// The unused token of this kind and hash, while it is good.
pub(super) fn good(kind: &str, digest: [u8; 32], now: Timestamp) -> Document {
    doc! { "_id": binary(digest), "kind": kind, "expires_at": { "$gt": now } }
}
