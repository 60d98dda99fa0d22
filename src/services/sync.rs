//! The event log over REST.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::frames::{Frames, LoggedEvent};
use crate::bus::Bus;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::events::Position;
use crate::domain::ids::UserId;
use crate::domain::page::Limit;
use crate::error::{Error, Result};

/// Later than anything: nothing is known after it, so what is asked for from there is not whole.
const NEVER: Position = Position { commit: u64::MAX, nth: u32::MAX };

/// A part of one's event log. It may be empty though there are more events, where those that were
/// looked at are gone or may no longer be seen; `next` has moved then.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SyncPage)]
pub struct SyncPage {
    /// Frames as a socket would have sent them, the oldest first.
    #[schema(value_type = Vec<EventFrame>)]
    pub events: Vec<Box<RawValue>>,
    /// What to pass as `since` to go on.
    #[schema(example = "6922a1f00000000100000001")]
    pub next: String,
    /// Whether nothing is missing after `since`: if not, there are no events, and the client reads
    /// `GET /conversations`. Null without `since`.
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
    at: Timestamp,
    /// What of, by its type.
    #[schema(value_type = Object)]
    data: Value,
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
    /// no longer to be had, or it is no event's id, there are none at all, and `next` is where the
    /// log is now. What the reader may no longer see is left out, and `next` is past it.
    pub async fn page(&self, user: UserId, since: Option<&str>, limit: Limit) -> Result<SyncPage> {
        let after = since.map(|since| since.parse().unwrap_or(NEVER));
        let past = self.bus.past(user, after, limit.get(), self.clock.now()).await?;
        let recovered = after.map(|_| past.is_whole);
        let next = past.read_to.filter(|_| past.is_whole).unwrap_or(past.end).to_string();
        let happened: Vec<LoggedEvent> = past.entries.into_iter().map(Into::into).collect();
        let frames = self.frames.past(user, &happened).await?;
        let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(Error::internal);
        let events = frames.iter().map(|it| raw(&it.frame)).collect::<Result<_>>()?;
        Ok(SyncPage { events, next, recovered })
    }
}
