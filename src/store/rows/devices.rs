//! Devices that each account signed in from lately: one row for each account.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::store::bson::{date, serialized};
use crate::store::{RowUpdate, Table};

/// A row of `devices`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct Row {
    seen: Vec<SeenDevice>,
}

/// A device as signing in shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeenDevice {
    /// The network of its address.
    pub network: String,
    /// Its user agent.
    pub user_agent: Option<String>,
    /// Its last sign-in.
    #[serde(with = "date")]
    pub at: Timestamp,
}

/// The collection `devices`, for one command.
pub struct Devices<'a>(Table<'a, Row>);

impl<'a> Devices<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The devices of an account, the one seen longest ago first.
    pub async fn of(self, user: UserId) -> Result<Vec<SeenDevice>> {
        Ok(self.0.one(doc! { "_id": user }).await?.map(|row| row.seen).unwrap_or_default())
    }

    /// Notes the devices of an account.
    pub async fn set(self, user: UserId, seen: &[SeenDevice], expires_at: Timestamp) -> Result<()> {
        let set = doc! { "$set": { "seen": serialized(&seen), "expires_at": expires_at } };
        self.0.update_each(vec![RowUpdate::of(doc! { "_id": user }, set).or_insert()]).await
    }

    /// Forgets the devices of an account.
    pub async fn forget(self, user: UserId) -> Result<()> {
        self.0.delete(doc! { "_id": user }).await.map(|_| ())
    }
}
