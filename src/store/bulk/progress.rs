//! How far a population is, in `meta`, so that it can be gone on with.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::Bulk;
use crate::domain::population::Population;
use crate::error::{Error, Result};
use crate::store::bson::int;
use crate::store::{duplicate, within, within_raw};

/// The name of its row.
const ID: &str = "population";

/// A population on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Which one.
    pub population: Population,
    /// The way in which it follows from that: another version makes other rows.
    pub version: u32,
    /// Everybody's, in bcrypt's own text form.
    pub password_hash: String,
    /// Blocks that are there whole, from the first on.
    pub done: u64,
}

/// The row in `meta`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProgressRow {
    #[serde(rename = "_id")]
    id: String,
    version: u32,
    users: u32,
    messages: u32,
    random_seed: u32,
    password_hash: String,
    done: u64,
}

impl From<ProgressRow> for Begun {
    fn from(row: ProgressRow) -> Self {
        let ProgressRow { users, messages, random_seed, .. } = row;
        Self {
            population: Population { users, messages, random_seed },
            version: row.version,
            password_hash: row.password_hash,
            done: row.done,
        }
    }
}

impl Bulk {
    /// Whether the store has accounts and no population was begun in it.
    pub async fn has_other_accounts(&self) -> Result<bool> {
        if self.begun().await?.is_some() {
            return Ok(false);
        }
        Ok(within(&self.users, self.users.find_one(doc! {})).await?.is_some())
    }

    /// The population of this store, if one was begun.
    pub async fn begun(&self) -> Result<Option<Begun>> {
        let row = within(&self.progress, self.progress.find_one(doc! { "_id": ID })).await?;
        Ok(row.map(Begun::from))
    }

    /// Begins one; what was begun before, if there is one, stays and is given back.
    pub async fn begin(&self, begun: Begun) -> Result<Begun> {
        let Population { users, messages, random_seed } = begun.population;
        let row = ProgressRow {
            id: ID.to_owned(),
            version: begun.version,
            users,
            messages,
            random_seed,
            password_hash: begun.password_hash,
            done: begun.done,
        };
        match within_raw(&self.progress, self.progress.insert_one(row)).await? {
            Err(error) if duplicate(&error).is_none() => return Err(error.into()),
            _ => {}
        }
        self.begun().await?.ok_or_else(|| Error::internal("what was begun is not kept"))
    }

    /// Remembers that so many blocks, from the first on, are there whole.
    pub async fn reached(&self, done: u64) -> Result<()> {
        let done = int(done);
        let further = doc! { "$max": { "done": done } };
        within(&self.progress, self.progress.update_one(doc! { "_id": ID }, further))
            .await
            .map(|_| ())
    }
}
