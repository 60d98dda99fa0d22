//! Each user's event log: `log:{user}`, a capped stream whose entry ids are the events' positions,
//! so that Redis itself refuses what is not newer than what is there.
//!
//! The logs are complete from one position, `log-from`, up to another, `log-at`. Where Redis has
//! lost what it had, the first is missing until a [writer](super::writer) begins anew: the two
//! together say whether anything may be missing between what a client has and now.

use std::time::Duration;

use redis::streams::{StreamId, StreamRangeReply};
use serde::{Deserialize, Serialize};

use super::Bus;
use crate::domain::clock::Timestamp;
use crate::domain::events::{Event, Position};
use crate::domain::ids::UserId;
use crate::error::Result;

/// How many events a log keeps.
pub const KEPT: usize = 1000;

/// For how long it keeps them.
pub const KEPT_FOR: Duration = Duration::from_hours(24);

/// An event in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// What and when.
    pub content: Content,
}

/// What is kept of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What a log has after some position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The events after it, the oldest first.
    pub entries: Vec<Entry>,
    /// Whether these are all there were, up to `end` or as many as were asked for.
    pub is_whole: bool,
    /// The last event of this log, whatever was asked for.
    pub last: Option<Position>,
    /// From where logs are complete.
    pub from: Position,
    /// How far this log is written, at least: a position to go on from.
    pub end: Position,
}

impl Bus {
    /// Up to `count` events of a user's log after `since`, or of its whole length.
    ///
    /// # Errors
    /// When Redis is away, or has lost its logs and nothing is written to new ones yet.
    pub async fn past(
        &self,
        user: UserId,
        since: Option<Position>,
        count: usize,
        now: Timestamp,
    ) -> Result<Past> {
        let pasts = self.pasts(&[(user, since)], count, now).await?;
        pasts.into_iter().next().ok_or_else(crate::error::Error::unavailable)
    }

    /// The same of several logs at once.
    ///
    /// # Errors
    /// As [`past`](Self::past).
    pub async fn pasts(
        &self,
        wanted: &[(UserId, Option<Position>)],
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Past>> {
        let mut bounds = redis::pipe();
        bounds.get(self.names.from()).get(self.names.at());
        let mut ranges = redis::pipe();
        for (user, since) in wanted {
            let key = self.names.log(*user);
            let after = since.map_or("-".to_owned(), |since| format!("({}", stream_id(since)));
            // In this order: what is written in between is after the last, and what is trimmed
            // in between shows in the first.
            ranges.xrevrange_count(&key, "+", "-", 1);
            ranges.xrange_count(&key, after, "+", count);
            ranges.xrange_count(&key, "-", "+", 1);
            ranges.xlen(&key);
        }
        // The bounds before all: what is written in between is then after them.
        let (from, at): (Option<String>, Option<String>) = self.ask(&bounds).await?;
        let bounds = from.zip(at).and_then(|(from, at)| from.parse().ok().zip(at.parse().ok()));
        let (from, at) = bounds.ok_or_else(crate::error::Error::unavailable)?;
        // Should Redis lose them, whoever writes on begins where they ended for all readers.
        self.has_reached(at);
        let found: Vec<redis::Value> = self.ask(&ranges).await?;
        let logs = found.chunks_exact(4).zip(wanted).map(|(values, (_, since))| {
            let log = Log::read(values)?;
            Ok(log.past(*since, Bounds { from, at, now }))
        });
        logs.collect()
    }
}

/// Between which positions logs are complete, and the time.
#[derive(Clone, Copy)]
struct Bounds {
    from: Position,
    at: Position,
    now: Timestamp,
}

struct Log {
    entries: Vec<Entry>,
    first: Option<Position>,
    last: Option<Position>,
    length: usize,
}

impl Log {
    fn read(values: &[redis::Value]) -> Result<Self> {
        let [last, entries, first, length] = values else {
            return Err(crate::error::Error::unavailable());
        };
        let one = |value: &redis::Value| -> Result<Option<Position>> {
            let reply: StreamRangeReply = parsed(value)?;
            Ok(reply.ids.first().and_then(|id| position(&id.id)))
        };
        let entries: StreamRangeReply = parsed(entries)?;
        Ok(Self {
            entries: entries.ids.iter().filter_map(entry).collect(),
            first: one(first)?,
            last: one(last)?,
            length: parsed(length)?,
        })
    }

    fn past(mut self, since: Option<Position>, bounds: Bounds) -> Past {
        let Bounds { from, at, now } = bounds;
        let last = self.last;
        let end = last.unwrap_or_default().max(at);
        let oldest = now.minus(KEPT_FOR);
        let young = |entry: &Entry| entry.content.at >= oldest;
        let Some(since) = since else {
            self.entries.retain(young);
            return Past { entries: self.entries, is_whole: true, last, from, end };
        };
        // One more than is kept stays, so that whoever has seen that one has missed nothing.
        let trimmed = self.length > KEPT && self.first.is_some_and(|first| first > since);
        let reached = (from..=end).contains(&since);
        let is_young = i64::try_from(since.seconds()).is_ok_and(|at| at >= oldest.seconds());
        let is_whole = reached && !trimmed && is_young && self.entries.iter().all(young);
        Past {
            entries: if is_whole { self.entries } else { Vec::new() },
            is_whole,
            last,
            from,
            end,
        }
    }
}

fn entry(id: &StreamId) -> Option<Entry> {
    let content: String = id.get("e")?;
    Some(Entry { position: position(&id.id)?, content: serde_json::from_str(&content).ok()? })
}

fn parsed<T: redis::FromRedisValue>(value: &redis::Value) -> Result<T> {
    redis::from_redis_value(value.clone()).map_err(crate::error::Error::internal)
}

/// A position as the id of a stream's entry.
pub(super) fn stream_id(position: Position) -> String {
    format!("{}-{}", position.commit, position.nth)
}

pub(super) fn position(id: &str) -> Option<Position> {
    let (commit, nth) = id.split_once('-')?;
    Some(Position { commit: commit.parse().ok()?, nth: nth.parse().ok()? })
}
