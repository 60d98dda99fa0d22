//! The metadata of all logs: their epoch, and the positions between which they are complete.
//!
//! A Redis server that lost its keys lost the metadata too, and the relay begins a new epoch then. The
//! names of logs contain the epoch: no instance reads logs of an old epoch, and no log of a new epoch
//! begins with a gap.

use redis::Pipeline;

use super::{Bus, Names};
use crate::domain::clock::random_bytes;
use crate::domain::events::Position;

/// The epoch of the logs: a new number after each loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

/// The positions between which the logs of an epoch are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The epoch.
    pub epoch: Epoch,
    /// The logs have no events before this.
    pub from: Position,
    /// The logs have all events up to here.
    pub at: Position,
}

/// Begins an epoch, unless another one did since: logs, channel; the epoch that there was, the new
/// one, from where, how many keys the server has evicted.
pub(super) const BEGIN: &str = r"
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
if epoch ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'from', ARGV[3], 'at', ARGV[3], 'evicted', ARGV[4])
redis.call('PUBLISH', KEYS[2], 'A\n' .. ARGV[2] .. '\n' .. ARGV[3])
return 1
";

/// Says how far all logs are written, never back, unless it is another epoch: logs, channel;
/// epoch, position.
pub(super) const RAISE: &str = r"
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
local at = redis.call('HGET', KEYS[1], 'at')
if not at or at < ARGV[2] then redis.call('HSET', KEYS[1], 'at', ARGV[2]) end
redis.call('PUBLISH', KEYS[2], 'A\n' .. ARGV[1] .. '\n' .. ARGV[2])
return 1
";

/// How many keys the server has evicted for want of memory; empty where natter may not know, so
/// that any log may be among them.
pub(super) const EVICTED_KEYS: &str = r"
local stats = redis.pcall('INFO', 'stats')
return type(stats) == 'string' and string.match(stats, 'evicted_keys:(%d+)') or ''
";

/// Notes that logs may be among what was evicted: logs.
pub(super) const EVICTED: &str = r"
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'evicted', '-1') end
return 1
";

impl Epoch {
    pub(super) fn random() -> Self {
        Self(u64::from_be_bytes(random_bytes()))
    }

    pub(super) fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// The metadata of the logs, as Redis has it.
pub(super) struct LogMetadata {
    epoch: Option<String>,
    from: Option<String>,
    at: Option<String>,
}

impl LogMetadata {
    pub fn ask(names: &Names, commands: &mut Pipeline) {
        commands.cmd("HMGET").arg(names.logs()).arg(&["epoch", "from", "at"]);
    }

    pub fn new((epoch, from, at): (Option<String>, Option<String>, Option<String>)) -> Self {
        Self { epoch, from, at }
    }

    /// The epoch as Redis has it.
    pub fn written(&self) -> &str {
        self.epoch.as_deref().unwrap_or_default()
    }

    pub fn bounds(&self) -> Option<Bounds> {
        Some(Bounds {
            epoch: Epoch::parse(self.epoch.as_deref()?)?,
            from: self.from.as_deref()?.parse().ok()?,
            at: self.at.as_deref()?.parse().ok()?,
        })
    }
}

/// The check after logs were read: whether the epoch is the same, and Redis has evicted no keys.
pub(super) struct EvictionCheck;

impl EvictionCheck {
    pub fn ask(names: &Names, commands: &mut Pipeline) {
        commands.cmd("HMGET").arg(names.logs()).arg(&["epoch", "evicted"]);
        commands.cmd("EVAL").arg(EVICTED_KEYS).arg(0);
    }

    /// Whether Redis has evicted keys since the epoch began, perhaps logs; `None` in another epoch.
    pub fn evicted(
        epoch: Epoch,
        (now, evicted): (Option<String>, Option<String>),
        now_evicted: &str,
    ) -> Option<bool> {
        if now.as_deref().and_then(Epoch::parse) != Some(epoch) {
            return None;
        }
        Some(now_evicted.is_empty() || evicted.as_deref() != Some(now_evicted))
    }
}

impl Bus {
    /// The position up to which the relay has written the logs, as far as this instance knows.
    #[must_use]
    pub fn reached(&self) -> Option<Position> {
        *self.reached.lock()
    }

    pub(super) fn has_reached(&self, position: Position) {
        let mut reached = self.reached.lock();
        *reached = (*reached).max(Some(position));
    }
}
