//! The event log of each user: `log:{user}`, a capped Redis stream whose entry ids are positions, so
//! that Redis refuses an entry that is not newer than the last.
//!
//! All logs are complete between two positions, the [`Bounds`]. They decide whether a client that
//! reconnects can receive every event.

use std::time::Duration;

use redis::Pipeline;
use redis::streams::{StreamId, StreamRangeReply};
use serde::{Deserialize, Serialize};

use super::bounds::{EvictionCheck, LogMetadata};
use super::{Bounds, Bus, Epoch};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Event, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

/// Events in a log.
pub const MAX_LOG_ENTRIES: usize = 1000;

/// How long a log keeps events.
pub const LOG_RETENTION: Duration = Duration::from_hours(24);

/// An event in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The position.
    pub position: Position,
    /// The event and its time.
    pub content: Content,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The time of the event.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// The events of a log after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The events, oldest first.
    pub entries: Vec<Entry>,
    /// Whether no event is missing, up to `end` or the requested count.
    pub is_whole: bool,
    /// The last event that was read, whether or not it is in `entries`.
    pub read_to: Option<Position>,
    /// The last event of the log.
    pub last: Option<Position>,
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The position from which logs are complete.
    pub from: Position,
    /// A position up to which the relay has written the log.
    pub end: Position,
}

impl Bus {
    /// Up to `count` events of a user's log after `since`, or of its whole length.
    ///
    /// # Errors
    /// When Redis is away, or lost its logs and the relay has not begun new ones.
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
        // The bounds first: entries that are written meanwhile are after them.
        let mut first = redis::pipe();
        LogMetadata::ask(&self.names, &mut first);
        let (found,) = self.ask(&first).await?;
        let bounds = LogMetadata::new(found).bounds().ok_or_else(Error::unavailable)?;
        let mut commands = self.ranges(bounds.epoch, wanted, count);
        // The check last: it finds a loss that happened meanwhile.
        EvictionCheck::ask(&self.names, &mut commands);
        let mut found: Vec<redis::Value> = self.ask(&commands).await?;
        let now_evicted: String = parsed(&found.pop().ok_or_else(Error::unavailable)?)?;
        let stands = parsed(&found.pop().ok_or_else(Error::unavailable)?)?;
        let evicted = EvictionCheck::evicted(bounds.epoch, stands, &now_evicted);
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
            // In this order: entries that are written meanwhile are after the last, and entries that
            // are trimmed meanwhile show in the first.
            ranges.xrevrange_count(&key, "+", "-", 1);
            ranges.xrange_count(&key, after, "+", count);
            ranges.xrange_count(&key, "-", "+", 1);
            ranges.xlen(&key);
        }
        ranges
    }
}

/// The state of all logs, and the time.
struct Known {
    bounds: Bounds,
    /// Whether Redis may have evicted logs.
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
        let oldest = known.now.minus(LOG_RETENTION);
        let young = |entry: &Entry| entry.content.at >= oldest;
        let read_to = self.entries.last().map(|entry| entry.position);
        // A log has one entry more than it keeps: a client that has that entry missed nothing.
        let Some(since) = since else {
            let spare = self.first.filter(|_| self.length > MAX_LOG_ENTRIES).unwrap_or_default();
            self.entries.retain(|entry| young(entry) && entry.position > spare.max(from));
            return Past { entries: self.entries, is_whole: true, read_to, last, epoch, from, end };
        };
        let may_lack = self.length > MAX_LOG_ENTRIES || known.evicted;
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
