//! What Redis does in one step.

use std::sync::LazyLock;

use redis::Script;

/// The present moment, in milliseconds and as text.
const NOW: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
";

/// Adds a connection unless there are as many already as an account may have; how many there were
/// before, or -1: connections, seen; connection, its time, the most, when it is there, its time.
const JOIN: &str = r"
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
local before = redis.call('ZCARD', KEYS[1])
if before >= tonumber(ARGV[3]) then return -1 end
redis.call('ZADD', KEYS[1], text(now + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
return before
";

/// Makes an instance's connections of a user what they are; how many there were before and are:
/// connections, seen; instance, their time, when the user was there, its time, how many are to be
/// renewed, these, others that are to be left as they are.
const RENEW: &str = r"
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
local there = redis.call('ZRANGE', KEYS[1], 0, -1)
local own = {}
for i = 6, #ARGV do own[ARGV[i]] = true end
for _, one in ipairs(there) do
  if string.sub(one, 1, #ARGV[1]) == ARGV[1] and not own[one] then
    redis.call('ZREM', KEYS[1], one)
  end
end
for i = 6, 5 + ARGV[5] do redis.call('ZADD', KEYS[1], text(now + ARGV[2]), ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local seen = redis.call('GET', KEYS[2])
if not seen or tonumber(seen) < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
else
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return {#there, redis.call('ZCARD', KEYS[1])}
";

/// How someone is: how many connections, when last seen, the moment of this in microseconds, how
/// many milliseconds ago an instance last had them: connections, seen; for how long seen is kept.
const STATE: &str = r"
local count = redis.call('ZCOUNT', KEYS[1], '(' .. text(now), '+inf')
local seen = redis.call('GET', KEYS[2]) or ''
local ago = math.max(0, ARGV[1] - redis.call('PTTL', KEYS[2]))
return {count, seen, text(time[1] * 1000000 + time[2]), text(ago)}
";

/// Which instances live: instances.
const ALIVE: &str = r"
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now))
return redis.call('ZRANGE', KEYS[1], 0, -1)
";

/// Says that an instance lives: instances; instance, for how long.
const BEAT: &str = r"
redis.call('ZADD', KEYS[1], text(now + ARGV[2]), ARGV[1])
return 1
";

/// A script and its text.
pub(super) struct Kept {
    pub text: String,
    pub script: Script,
}

pub(super) static JOINING: LazyLock<Kept> = LazyLock::new(|| kept(JOIN));
pub(super) static RENEWING: LazyLock<Kept> = LazyLock::new(|| kept(RENEW));
pub(super) static ASKING: LazyLock<Kept> = LazyLock::new(|| kept(STATE));
pub(super) static LISTING: LazyLock<Kept> = LazyLock::new(|| kept(ALIVE));
pub(super) static BEATING: LazyLock<Kept> = LazyLock::new(|| kept(BEAT));

fn kept(script: &str) -> Kept {
    let text = [NOW, script].concat();
    Kept { script: Script::new(&text), text }
}
