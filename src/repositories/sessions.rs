//! Sessions: one row per signed-in device. An ended session has no row.

mod standing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::doc;
use mongodb::error::Error as DriverError;
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

pub use self::standing::Standing;
use self::standing::{Confirmation, standing};
use super::bson::{date, id, int};
use super::store::{Collection, PrimaryWatch, Store, Tx, all, all_in, older, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{Device, Session, network_of};
use crate::error::Result;

/// How long a session stands without a refresh.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

/// How many past generations are remembered with the time that they were replaced.
const ROTATIONS: i32 = 8;

/// The collection `sessions`.
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(super) rows: Collection<Row>,
    /// For those who follow their ends.
    pub(super) background: Store,
    primary: PrimaryWatch,
    confirmation: Arc<Confirmation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id", with = "id")]
    id: SessionId,
    #[serde(with = "id")]
    user_id: UserId,
    generation: i32,
    rotations: Vec<Rotation>,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "date")]
    last_used_at: Timestamp,
    #[serde(with = "date")]
    expires_at: Timestamp,
    ip: String,
    user_agent: Option<String>,
}

impl Row {
    /// A session that begins.
    pub(super) fn new(user: UserId, device: &Device, now: Timestamp) -> Self {
        Self {
            id: SessionId::random(),
            user_id: user,
            generation: 1,
            rotations: Vec::new(),
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(LIFETIME),
            ip: device.ip.to_string(),
            user_agent: device.user_agent.clone(),
        }
    }
}

/// A session, and when it was last used.
#[derive(Debug, Deserialize)]
struct Use {
    #[serde(rename = "_id", with = "id")]
    id: SessionId,
    #[serde(with = "date")]
    last_used_at: Timestamp,
}

/// When a generation was replaced by the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rotation {
    generation: i32,
    #[serde(with = "date")]
    at: Timestamp,
}

/// A session, and when the generation that was asked about was replaced.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// As it stands now.
    pub session: Session,
    /// `None` if that generation is the newest, or too many have come after it.
    pub at: Option<Timestamp>,
}

/// How many sessions an account may have.
#[derive(Clone)]
pub struct SessionRoom {
    /// So many.
    pub most: u32,
    /// The latest use of a session at this instance, if it knows one.
    pub used_here: Arc<dyn Fn(SessionId) -> Option<Timestamp> + Send + Sync>,
}

impl fmt::Debug for SessionRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionRoom({})", self.most)
    }
}

impl Sessions {
    /// The sessions of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let (primary, confirmation) = (store.primary().clone(), Arc::default());
        let (rows, background) = (store.collection("sessions"), store.for_background());
        Self { rows, background, primary, confirmation }
    }

    /// Replaces the generation by the next one; `None` if it is not the newest, or the session
    /// has ended. Of many at once, one succeeds.
    pub async fn rotate(
        &self,
        session: SessionId,
        generation: u32,
        device: &Device,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let mut newest = standing(session, now);
        newest.insert("generation", generation);
        let rotation = doc! { "generation": generation, "at": now };
        let next = doc! {
            "$set": {
                "last_used_at": now,
                "expires_at": now.plus(LIFETIME),
                "ip": device.ip.to_string(),
                "user_agent": device.user_agent.clone(),
            },
            "$inc": { "generation": 1 },
            "$push": { "rotations": { "$each": [rotation], "$slice": -ROTATIONS } },
        };
        let row = self.rows.find_one_and_update(newest, next);
        let row = within(&self.rows, row.return_document(ReturnDocument::After)).await?;
        Ok(row.map(Session::from))
    }

    /// The session, and when that generation of it was replaced; `None` once it has ended.
    pub async fn replaced(
        &self,
        session: SessionId,
        generation: u32,
        now: Timestamp,
    ) -> Result<Option<Replaced>> {
        let row = within(&self.rows, self.rows.find_one(standing(session, now))).await?;
        Ok(row.map(|row| {
            let replaced =
                row.rotations.iter().find(|it| it.generation.try_into() == Ok(generation));
            Replaced { at: replaced.map(|rotation| rotation.at), session: row.into() }
        }))
    }

    /// The standing sessions of a user, the newest first, from the one after `after` on.
    pub async fn of(
        &self,
        user: UserId,
        after: Option<(Timestamp, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Session>> {
        let mut filter = doc! { "user_id": user, "expires_at": { "$gt": now } };
        if let Some((at, id)) = after {
            filter.insert("$or", older(["created_at", "_id"], [at.into(), id.into()]));
        }
        let rows = self.rows.find(filter).sort(doc! { "created_at": -1, "_id": -1 });
        let limit = int(limit);
        Ok(all(&self.rows, rows.limit(limit)).await?.into_iter().map(Session::from).collect())
    }

    /// Whether a session has not ended, as a transaction sees it.
    pub(super) async fn stands(&self, session: SessionId, tx: &mut Tx) -> Result<bool> {
        let row = self.rows.find_one(doc! { "_id": session }).session(tx.session()).await?;
        Ok(row.is_some())
    }

    /// Whether none of a user's standing sessions is used from this network or by this user agent,
    /// as a transaction sees it.
    pub(super) async fn are_elsewhere(
        &self,
        user: UserId,
        device: &Device,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<bool> {
        let standing = doc! { "user_id": user, "expires_at": { "$gt": now } };
        let rows = self.rows.find(standing).session(tx.session()).await?;
        let network = device.network();
        let rows = all_in(tx.session(), rows).await?;
        Ok(rows.iter().all(|row| {
            let known = row.ip.parse().map(network_of);
            known != Ok(network) && row.user_agent != device.user_agent
        }))
    }

    /// Ends sessions of a user, those used longest ago first, until there is room for one: which.
    pub(super) async fn make_room(
        &self,
        tx: &mut Tx,
        user: UserId,
        room: &SessionRoom,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, DriverError> {
        let most = usize::try_from(room.most).unwrap_or(usize::MAX);
        // By the index alone; it counts sessions too that have expired and are still there.
        let there = self.rows.count_documents(doc! { "user_id": user }).limit(most as u64);
        if there.session(tx.session()).await? < most as u64 {
            return Ok(Vec::new());
        }
        let standing = doc! { "user_id": user, "expires_at": { "$gt": now } };
        let rows = self.rows.clone_with_type::<Use>();
        let rows = rows
            .find(standing)
            .projection(doc! { "last_used_at": 1 })
            .session(tx.session())
            .await?;
        let mut standing = all_in(tx.session(), rows).await?;
        let last_use = |row: &Use| (room.used_here)(row.id).max(Some(row.last_used_at));
        standing.sort_by_cached_key(|row| (last_use(row), row.id));
        standing.truncate((standing.len() + 1).saturating_sub(most));
        let ended: Vec<SessionId> = standing.into_iter().map(|row| row.id).collect();
        if !ended.is_empty() {
            let which = doc! { "_id": { "$in": ended.clone() } };
            self.rows.delete_many(which).session(tx.session()).await?;
        }
        Ok(ended)
    }

    /// Notes that these sessions were in use at `now`.
    pub async fn mark_used(&self, sessions: &[SessionId], now: Timestamp) -> Result<()> {
        let used = doc! { "_id": { "$in": sessions.to_vec() } };
        within(&self.rows, self.rows.update_many(used, doc! { "$max": { "last_used_at": now } }))
            .await?;
        Ok(())
    }

    /// Ends a session of this user; `false` if there was none.
    pub async fn end(&self, session: SessionId, user: UserId) -> Result<bool> {
        let row = self.rows.delete_one(doc! { "_id": session, "user_id": user });
        Ok(within(&self.rows, row).await?.deleted_count > 0)
    }
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            user: row.user_id,
            generation: row.generation.try_into().unwrap_or_default(),
            renewed_at: row.rotations.last().map_or(row.created_at, |rotation| rotation.at),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            ip: row.ip,
            user_agent: row.user_agent,
        }
    }
}
