//! Names that were given up by renaming: for a while nobody but their former owner may have them.
//!
//! A name is taken in a transaction that looks for its row here. Between the account that has the
//! name and the row that holds it there is no moment: the transaction that gives it up writes both,
//! and one that began before it still finds the name at the account, under a unique key.

use std::time::Duration;

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::bson::{date, id};
use super::store::{Collection, Store, Tx, again_if_taken, all_in, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::Username;
use crate::domain::users::username_taken;
use crate::error::{Error, Result};

/// How long nobody else may have a name that was given up, by renaming or with its account.
pub(super) const NAME_HELD: Duration = Duration::from_hours(30 * 24);

/// Names that one account may hold at once: otherwise it could take all good names from everyone.
const MOST: u32 = 30;

/// The collection `held_names`.
#[derive(Debug, Clone)]
pub struct HeldNames {
    rows: Collection<Row>,
}

/// A row of `held_names`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// The name in lower case.
    #[serde(rename = "_id")]
    key: String,
    /// Whose it was.
    #[serde(with = "id")]
    user_id: UserId,
    /// From when on anyone may have it.
    #[serde(with = "date")]
    until: Timestamp,
}

impl HeldNames {
    /// The held names of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("held_names") }
    }

    /// Whether a name is held for someone.
    pub async fn is_held(&self, name: &Username, now: Timestamp) -> Result<bool> {
        let held = doc! { "_id": name.key(), "until": { "$gt": now } };
        Ok(within(&self.rows, self.rows.find_one(held)).await?.is_some())
    }

    /// Takes a name for an account, in the transaction that gives it the name.
    ///
    /// # Errors
    /// `username_taken` if it is held for someone else.
    pub(super) async fn claim(
        &self,
        tx: &mut Tx,
        name: &Username,
        user: UserId,
        now: Timestamp,
    ) -> Result<()> {
        let which = doc! { "_id": name.key() };
        let held = self.rows.find_one(which.clone()).session(tx.session()).await?;
        let Some(held) = held else { return Ok(()) };
        if held.user_id != user && held.until > now {
            return Err(username_taken());
        }
        self.rows.delete_one(which).session(tx.session()).await?;
        Ok(())
    }

    /// Holds a name that an account gives up, in the transaction that takes it from there.
    ///
    /// # Errors
    /// `rate_limited` if the account then holds too many.
    pub(super) async fn hold(
        &self,
        tx: &mut Tx,
        key: &str,
        user: UserId,
        now: Timestamp,
    ) -> Result<()> {
        let row = Row { key: key.to_owned(), user_id: user, until: now.plus(NAME_HELD) };
        let held = self.rows.replace_one(doc! { "_id": key }, row).upsert(true);
        held.session(tx.session()).await.map_err(again_if_taken)?;
        let own = doc! { "user_id": user, "until": { "$gt": now } };
        let own = self.rows.find(own).sort(doc! { "until": 1 }).limit(i64::from(MOST) + 1);
        let own = own.session(tx.session()).await?;
        let own = all_in(tx.session(), own).await?;
        match own.first() {
            Some(oldest) if own.len() > MOST as usize => {
                Err(Error::limited("rate_limited", oldest.until.since(now)))
            }
            _ => Ok(()),
        }
    }
}
