//! Sessions: one row for each signed-in device. An ended session has no row.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{Device, Session};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{date, id};

/// How long a session is valid without a refresh.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

/// How many past generations are remembered with the time that they were replaced.
const ROTATIONS: i32 = 8;

/// A row of `sessions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct Row {
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

/// A session, and when it was last used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct LastUse {
    /// The session.
    #[serde(rename = "_id", with = "id")]
    pub session: SessionId,
    /// Its last use, to within a minute.
    #[serde(rename = "last_used_at", with = "date")]
    pub at: Timestamp,
}

/// A session, and when the generation that was asked about was replaced.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// As it is now.
    pub session: Session,
    /// `None` if that generation is the newest, or too many have come after it.
    pub at: Option<Timestamp>,
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

/// The collection `sessions`, for one command.
pub struct Sessions<'a>(Table<'a, Row>);

impl<'a> Sessions<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Begins a session.
    pub async fn begin(
        self,
        id: SessionId,
        user: UserId,
        device: &Device,
        now: Timestamp,
    ) -> Result<Session> {
        let row = Row {
            id,
            user_id: user,
            generation: 1,
            rotations: Vec::new(),
            created_at: now,
            last_used_at: now,
            expires_at: now.plus(LIFETIME),
            ip: device.ip.to_string(),
            user_agent: device.user_agent.clone(),
        };
        self.0.insert(row.clone()).await?;
        Ok(row.into())
    }

    /// Replaces the generation by the next one; `None` if it is not the newest, or the session
    /// has ended. Of many at once, one succeeds.
    pub async fn rotate(
        self,
        session: SessionId,
        generation: u32,
        device: &Device,
        now: Timestamp,
    ) -> Result<Option<Session>> {
        let mut newest = valid(doc! { "_id": session }, now);
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
        Ok(self.0.change(newest, next).await?.map(Session::from))
    }

    /// The session, and when that generation of it was replaced; `None` once it has ended.
    pub async fn replaced(
        self,
        session: SessionId,
        generation: u32,
        now: Timestamp,
    ) -> Result<Option<Replaced>> {
        let row = self.0.one(valid(doc! { "_id": session }, now)).await?;
        Ok(row.map(|row| {
            let replaced =
                row.rotations.iter().find(|it| it.generation.try_into() == Ok(generation));
            Replaced { at: replaced.map(|rotation| rotation.at), session: row.into() }
        }))
    }

    /// A page of the valid sessions of a user, the newest first.
    pub async fn page_of(
        self,
        user: UserId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Session>> {
        let before = before.map(|(at, id)| [at.into(), id.into()]);
        let order = ["created_at", "_id"];
        let rows = self.0.page(valid(doc! { "user_id": user }, now), order, before, limit);
        Ok(rows.await?.into_iter().map(Session::from).collect())
    }

    /// The valid sessions of a user.
    pub async fn of(self, user: UserId, now: Timestamp) -> Result<Vec<Session>> {
        let rows = self.0.all(valid(doc! { "user_id": user }, now)).await?;
        Ok(rows.into_iter().map(Session::from).collect())
    }

    /// The last use of each valid session of a user.
    pub async fn last_uses(self, user: UserId, now: Timestamp) -> Result<Vec<LastUse>> {
        let valid = valid(doc! { "user_id": user }, now);
        self.0.only::<LastUse>(doc! { "last_used_at": 1 }).all(valid).await
    }

    /// How many sessions a user has, counted up to `most` by the index alone. Sessions that have
    /// expired count as long as they are there.
    pub async fn count(self, user: UserId, most: usize) -> Result<u64> {
        self.0.first(most).count(doc! { "user_id": user }).await
    }

    /// Whether a session has not ended.
    pub async fn exists(self, session: SessionId) -> Result<bool> {
        Ok(self.0.only::<Document>(doc! { "_id": 1 }).one(doc! { "_id": session }).await?.is_some())
    }

    /// Notes that these sessions were in use at `now`.
    pub async fn mark_used(self, sessions: &[SessionId], now: Timestamp) -> Result<()> {
        let used = doc! { "_id": { "$in": sessions.to_vec() } };
        self.0.update_all(used, doc! { "$max": { "last_used_at": now } }).await.map(|_| ())
    }

    /// Ends a session of this user; `false` if there was none.
    pub async fn end(self, session: SessionId, user: UserId) -> Result<bool> {
        self.0.delete(doc! { "_id": session, "user_id": user }).await
    }

    /// Ends some sessions.
    pub async fn end_some(self, sessions: &[SessionId]) -> Result<()> {
        self.0.delete_all(doc! { "_id": { "$in": sessions.to_vec() } }).await.map(|_| ())
    }

    /// Ends all sessions of a user but `kept`.
    pub async fn end_of(self, user: UserId, kept: Option<SessionId>) -> Result<()> {
        let mut theirs = doc! { "user_id": user };
        if let Some(kept) = kept {
            theirs.insert("_id", doc! { "$ne": kept });
        }
        self.0.delete_all(theirs).await.map(|_| ())
    }
}

/// Sessions that are valid at `now`.
pub(in crate::store) fn valid(mut which: Document, now: Timestamp) -> Document {
    which.insert("expires_at", doc! { "$gt": now });
    which
}
