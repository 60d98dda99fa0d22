//! Each user's event log: `log:{user}`, a capped stream whose entry ids are the events' positions,
//! so that Redis itself refuses what is not newer than what is there.
//!
//! All logs are complete between two positions, which say whether anything may be missing between
//! what a client has and now; see [`Bounds`].

use std::time::Duration;

use redis::Pipeline;
use redis::streams::{StreamId, StreamRangeReply};
use serde::{Deserialize, Serialize};

use super::bounds::{Doubt, Found};
use super::{Bounds, Bus, Epoch};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Event, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

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
    /// The last event that was looked at, whether or not it is in `entries`.
    pub read_to: Option<Position>,
    /// The last event of this log, whatever was asked for.
    pub last: Option<Position>,
    /// Of which logs it is.
    pub epoch: Epoch,
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
        pasts.into_iter().next().ok_or_else(Error::unavailable)
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
        // The bounds before all: what is written in between is then after them.
        let mut first = redis::pipe();
        Found::ask(&self.names, &mut first);
        let (found,) = self.ask(&first).await?;
        let bounds = Found::new(found).bounds().ok_or_else(Error::unavailable)?;
        let mut commands = self.ranges(bounds.epoch, wanted, count);
        // And after all once more: what was lost before is not taken for nothing.
        Doubt::ask(&self.names, &mut commands);
        let mut found: Vec<redis::Value> = self.ask(&commands).await?;
        let now_evicted: String = parsed(&found.pop().ok_or_else(Error::unavailable)?)?;
        let stands = parsed(&found.pop().ok_or_else(Error::unavailable)?)?;
        let evicted = Doubt::evicted(bounds.epoch, stands, &now_evicted);
        let evicted = evicted.ok_or_else(Error::unavailable)?;
        let known = Known { bounds, evicted, now };
        let logs = found.chunks_exact(4).zip(wanted);
        logs.map(|(values, (_, since))| Ok(Log::read(values)?.past(*since, &known))).collect()
    }

    fn ranges(
        &self,
        epoch: Epoch,
        wanted: &[(UserId, Option<Position>)],
        count: usize,
    ) -> Pipeline {
        let mut ranges = redis::pipe();
        for (user, since) in wanted {
            let key = self.names.log(epoch, *user);
            let after = since.map_or("-".to_owned(), |since| format!("({}", stream_id(since)));
            // In this order: what is written in between is after the last, and what is trimmed
            // in between shows in the first.
            ranges.xrevrange_count(&key, "+", "-", 1);
            ranges.xrange_count(&key, after, "+", count);
            ranges.xrange_count(&key, "-", "+", 1);
            ranges.xlen(&key);
        }
        ranges
    }
}

/// What is known of all logs, and the time.
struct Known {
    bounds: Bounds,
    /// Whether the server may have thrown away some.
    evicted: bool,
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
            return Err(Error::unavailable());
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

    fn past(mut self, since: Option<Position>, known: &Known) -> Past {
        let Bounds { epoch, from, at } = known.bounds;
        let last = self.last;
        let end = last.unwrap_or_default().max(at);
        let oldest = known.now.minus(KEPT_FOR);
        let young = |entry: &Entry| entry.content.at >= oldest;
        let read_to = self.entries.last().map(|entry| entry.position);
        // One more than is kept stays, so that whoever has seen that one has missed nothing.
        let Some(since) = since else {
            let spare = self.first.filter(|_| self.length > KEPT).unwrap_or_default();
            self.entries.retain(|entry| young(entry) && entry.position > spare.max(from));
            return Past { entries: self.entries, is_whole: true, read_to, last, epoch, from, end };
        };
        let may_lack = self.length > KEPT || known.evicted;
        let trimmed = may_lack && self.first.is_none_or(|first| first > since);
        let reached = (from..=end).contains(&since);
        let is_young = i64::try_from(since.seconds()).is_ok_and(|at| at >= oldest.seconds());
        let is_whole = reached && !trimmed && is_young && self.entries.iter().all(young);
        Past {
            entries: if is_whole { self.entries } else { Vec::new() },
            is_whole,
            read_to,
            last,
            epoch,
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
    redis::from_redis_value(value.clone()).map_err(Error::internal)
}

/// A position as the id of a stream's entry.
pub(super) fn stream_id(position: Position) -> String {
    format!("{}-{}", position.commit, position.nth)
}

pub(super) fn position(id: &str) -> Option<Position> {
    let (commit, nth) = id.split_once('-')?;
    Some(Position { commit: commit.parse().ok()?, nth: nth.parse().ok()? })
}
