//! The rate counters that all instances share: one key per class and subject, one atomic script.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use super::Redis;
use crate::domain::clock::Timestamp;

/// GCRA. The key holds the theoretical arrival time in milliseconds; it expires by itself once
/// the quota is whole again. Time is an argument, so that tests can move it.
const TEXT: &str = r"
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local cost = window / limit
local arrival = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
local after = arrival + cost
local wait = after - window - now
if wait > 0.5 then
  return {1, 0, math.ceil(wait), math.ceil(arrival - now)}
end
redis.call('SET', KEYS[1], string.format('%.3f', after), 'PX', math.max(1, math.ceil(after - now)))
return {0, math.floor((window - (after - now)) / cost + 0.001), 0, math.ceil(after - now)}
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

/// Counts one request against `limit` per `window`; `None` when Redis is away.
pub async fn count(
    redis: &Redis,
    name: &str,
    limit: NonZeroU32,
    window: Duration,
    now: Timestamp,
) -> Option<Count> {
    let window = i64::try_from(window.as_millis()).ok()?;
    let arguments = [now.millis(), window, i64::from(limit.get())];
    let (refused, remaining, wait, reset): (i64, u32, u64, u64) =
        redis.script(&SCRIPT, TEXT, name, &arguments).await?;
    Some(Count {
        remaining,
        retry_after: (refused == 1).then(|| Duration::from_millis(wait)),
        reset: Duration::from_millis(reset),
    })
}
