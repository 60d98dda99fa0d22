//! The event log over REST.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::frames::{Frames, Happened};
use crate::bus::Bus;
use crate::domain::clock::Clock;
use crate::domain::events::Position;
use crate::domain::ids::UserId;
use crate::domain::page::Limit;
use crate::error::{Error, Result};

/// A part of one's event log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SyncPage)]
pub struct SyncPage {
    /// Frames as a socket would have sent them, the oldest first.
    #[schema(value_type = Vec<EventFrame>)]
    pub events: Vec<Box<RawValue>>,
    /// What to pass as `since` to go on.
    #[schema(example = "6922a1f00000000100000001")]
    pub next: String,
    /// Whether nothing is missing after `since`; `None` where that was not given.
    pub recovered: Option<bool>,
}

/// An event, as a frame.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventFrame {
    /// What happened.
    #[schema(example = "message.created")]
    r#type: String,
    /// Its place in the log.
    #[schema(example = "6922a1f00000000100000001")]
    id: String,
    /// When.
    at: crate::domain::clock::Timestamp,
    /// What of, by its type.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// Reads event logs.
#[derive(Debug)]
pub struct Sync {
    frames: Arc<Frames>,
    bus: Bus,
    clock: Clock,
}

impl Sync {
    /// The logs behind this bus.
    #[must_use]
    pub fn new(frames: &Arc<Frames>, bus: &Bus, clock: &Clock) -> Self {
        Self { frames: frames.clone(), bus: bus.clone(), clock: clock.clone() }
    }

    /// Up to `limit` events after `since`, or from the log's start. Where some after `since` are
    /// no longer to be had there are none at all, and the log goes on from now.
    ///
    /// # Errors
    /// When the store or the log is away.
    pub async fn page(&self, user: UserId, since: Option<&str>, limit: Limit) -> Result<SyncPage> {
        let recovered = since.map(|_| true);
        let mut from = match since.map(str::parse::<Position>) {
            None => None,
            Some(Ok(position)) => Some(position),
            Some(Err(_)) => return self.lost(user).await,
        };
        loop {
            let past = self.bus.past(user, from, limit.get(), self.clock.now()).await?;
            if !past.is_whole {
                return self.lost(user).await;
            }
            let is_end = past.entries.len() < limit.get();
            let next = past.entries.last().map_or(past.end, |entry| entry.position);
            let happened: Vec<Happened> = past.entries.into_iter().map(Into::into).collect();
            let frames = self.frames.past(user, &happened).await?;
            // What may no longer be seen leaves no page empty before the end.
            if frames.is_empty() && !is_end {
                from = Some(next);
                continue;
            }
            let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(Error::internal);
            let events = frames.iter().map(|(_, _, frame)| raw(frame)).collect::<Result<_>>()?;
            return Ok(SyncPage { events, next: next.to_string(), recovered });
        }
    }

    async fn lost(&self, user: UserId) -> Result<SyncPage> {
        let end = Position { commit: u64::MAX, nth: u32::MAX };
        let past = self.bus.past(user, Some(end), 1, self.clock.now()).await?;
        let next = past.end.to_string();
        Ok(SyncPage { events: Vec::new(), next, recovered: Some(false) })
    }
}
