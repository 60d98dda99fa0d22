//! Devices that each account signed in from lately. An ended session has no row, so that sessions
//! alone cannot tell a new device.

use std::time::Duration;

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::bson::{date, id, serialized};
use super::store::{Collection, Store, Tx, again_if_taken};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::sessions::Device;
use crate::error::Result;

/// How long a device is known after its last sign-in.
const KNOWN: Duration = Duration::from_hours(90 * 24);

/// How many devices an account's row names; the one seen longest ago makes place.
const MAX_DEVICES: usize = 50;

/// How exactly the row says when a device was last seen: most sign-ins write nothing.
const SEEN_STEP: Duration = Duration::from_hours(24);

/// The collection `devices`.
#[derive(Debug, Clone)]
pub struct Devices {
    rows: Collection<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "_id", with = "id")]
    user: UserId,
    seen: Vec<Seen>,
}

/// A device as signing in shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    network: String,
    user_agent: Option<String>,
    #[serde(with = "date")]
    at: Timestamp,
}

impl Devices {
    /// The devices of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("devices") }
    }

    /// Remembers a device; `true` if none of the account's devices of the last 90 days has its
    /// network or its user agent.
    pub(super) async fn remember(
        &self,
        user: UserId,
        device: &Device,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<bool> {
        let row = self.rows.find_one(doc! { "_id": user }).session(tx.session()).await?;
        let mut seen = row.map(|row| row.seen).unwrap_or_default();
        seen.retain(|known| known.at > now.minus(KNOWN));
        let network = device.network().to_string();
        let is_new = seen
            .iter()
            .all(|known| known.network != network && known.user_agent != device.user_agent);
        let same = seen
            .iter()
            .position(|known| known.network == network && known.user_agent == device.user_agent);
        if same.is_some_and(|at| seen[at].at > now.minus(SEEN_STEP)) {
            return Ok(is_new);
        }
        if let Some(at) = same {
            seen.remove(at);
        }
        seen.push(Seen { network, user_agent: device.user_agent.clone(), at: now });
        let surplus = seen.len().saturating_sub(MAX_DEVICES);
        let seen = serialized(&&seen[surplus..]);
        let set = doc! { "$set": { "seen": seen, "expires_at": now.plus(KNOWN) } };
        let update = self.rows.update_one(doc! { "_id": user }, set).upsert(true);
        update.session(tx.session()).await.map_err(again_if_taken)?;
        Ok(is_new)
    }

    /// Forgets the devices of an account.
    pub(super) async fn forget(&self, user: UserId, tx: &mut Tx) -> Result<()> {
        self.rows.delete_one(doc! { "_id": user }).session(tx.session()).await?;
        Ok(())
    }
}
