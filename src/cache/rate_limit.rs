//! The rate counters that all instances share: one key per class and subject, one atomic script.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use super::Redis;
use crate::domain::clock::Timestamp;

/// A leaky bucket as a meter, which is GCRA in whole numbers: a request adds `window` drops, the
/// bucket holds `limit` times as many, and `limit` drops leave each millisecond. So nothing is
/// ever rounded: over 24 hours, a double counts the drops of any limit below 10^8 exactly.
///
/// The key holds when the bucket was last filled, and how far. Redis tells the time, so that the
/// clock of an instance decides nothing; a test gives its own. Where that time goes back (Redis's
/// clock was set, or a replica with another clock took over), the bucket goes on from there as
/// full as it is. The key goes by itself when the bucket is empty, and a window later than that:
/// whether a request is let through never depends on it.
const TEXT: &str = r"
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local capacity = window * limit
local level = 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local at, filled = string.match(kept, '^(%d+) (%d+)$')
  local past = math.min(now - tonumber(at), window)
  level = math.max(0, tonumber(filled) - math.max(0, past) * limit)
  if past < 0 then
    redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, level), 'PX', 2 * window)
  end
end
if level + window > capacity then
  return {1, 0, math.ceil((level + window - capacity) / limit), math.ceil(level / limit)}
end
level = level + window
local empty = math.ceil(level / limit)
redis.call('SET', KEYS[1], string.format('%.0f %.0f', now, level), 'PX', empty + window)
return {0, math.floor((capacity - level) / window), 0, empty}
";

static SCRIPT: LazyLock<redis::Script> = LazyLock::new(|| redis::Script::new(TEXT));

/// The state of a counter after one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Requests that would be let through right now.
    pub remaining: u32,
    /// When refused: how long until one would be let through.
    pub retry_after: Option<Duration>,
    /// How long until the quota is whole again.
    pub reset: Duration,
}

/// Counts one request against `limit` per `window`, at a test's `now` or else at Redis's own;
/// `None` when Redis is away.
pub async fn count(
    redis: &Redis,
    name: &str,
    limit: NonZeroU32,
    window: Duration,
    now: Option<Timestamp>,
) -> Option<Count> {
    let window = i64::try_from(window.as_millis()).ok()?;
    let arguments = [now.map_or(-1, Timestamp::millis), window, i64::from(limit.get())];
    // Drops of another quota are of another size: instances with other settings count apart.
    let name = format!("{name}:{limit}/{window}");
    let (refused, remaining, wait, reset): (i64, u32, u64, u64) =
        redis.script(&SCRIPT, TEXT, &name, &arguments).await?;
    Some(Count {
        remaining,
        retry_after: (refused == 1).then(|| Duration::from_millis(wait)),
        reset: Duration::from_millis(reset),
    })
}
