//! Sessions: one row per signed-in device. An ended session has no row.

use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::bson::{date, id};
use super::store::{Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{Device, Session};
use crate::error::Result;

/// How long a session stands without a refresh.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

/// How many past generations are remembered with the time that they were replaced.
const ROTATIONS: i32 = 8;

/// The collection `sessions`.
#[derive(Debug, Clone)]
pub struct Sessions {
    rows: Collection<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
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

impl Sessions {
    /// The sessions of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("sessions") }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn start(&self, user: UserId, device: &Device, now: Timestamp) -> Result<Session> {
        let row = Row {
            id: SessionId::random(),
            user_id: user,
            generation: 1,
            rotations: Vec::new(),
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(LIFETIME),
            ip: device.ip.to_string(),
            user_agent: device.user_agent.clone(),
        };
        within(self.rows.insert_one(&row)).await?;
        Ok(row.into())
    }

    /// Whether the session of this user stands at that time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn is_alive(&self, session: SessionId, user: UserId, now: Timestamp) -> Result<bool> {
        let mut alive = standing(session, now);
        alive.insert("user_id", user);
        let rows = self.rows.clone_with_type::<Document>();
        let row = rows.find_one(alive).projection(doc! { "_id": 1 });
        Ok(within(row).await?.is_some())
    }

    /// Replaces the generation by the next one; `None` if it is not the newest, or the session
    /// has ended. Of many at once, one succeeds.
    ///
    /// # Errors
    /// When the store is away.
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
        let row = within(row.return_document(ReturnDocument::After)).await?;
        Ok(row.map(Session::from))
    }

    /// The session, and when that generation of it was replaced; `None` once it has ended.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn replaced(
        &self,
        session: SessionId,
        generation: u32,
        now: Timestamp,
    ) -> Result<Option<Replaced>> {
        let row = within(self.rows.find_one(standing(session, now))).await?;
        Ok(row.map(|row| {
            let replaced =
                row.rotations.iter().find(|it| it.generation.try_into() == Ok(generation));
            Replaced { at: replaced.map(|rotation| rotation.at), session: row.into() }
        }))
    }

    /// Ends a session of this user; `false` if there was none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end(&self, session: SessionId, user: UserId) -> Result<bool> {
        let row = self.rows.delete_one(doc! { "_id": session, "user_id": user });
        Ok(within(row).await?.deleted_count > 0)
    }
}

fn standing(session: SessionId, now: Timestamp) -> Document {
    doc! { "_id": session, "expires_at": { "$gt": now } }
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
