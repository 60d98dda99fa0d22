//! Writing the logs and telling of it, in the order of what happened.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, Script};

use super::log::{Content, KEPT, KEPT_FOR, stream_id};
use super::{Bus, PATIENCE, away};
use crate::domain::events::Position;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};

/// For how many users a frame goes with each telling; for more it is kept once, to be fetched.
const INLINE: usize = 8;

/// How many commands go out together: far fewer than take as long as an answer may.
const TOGETHER: usize = 2000;

/// For how long it is kept then, in seconds.
const FRAME_KEPT: u64 = 60;

/// How long an instance that is gone may still hold the relay.
const HELD: Duration = Duration::from_secs(2);

/// Appends one event to one log, unless it is there, and tells of it: log, channel; id, entry, how
/// many to keep, for how many seconds, conversation, frame.
const APPEND: &str = r"
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = top[1] and top[1][1] or ''
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '=', ARGV[3], ARGV[1], 'e', ARGV[2])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller') then return 0 end
  return added
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[2], 'E\n' .. ARGV[1] .. '\n' .. last .. '\n' .. ARGV[5] .. '\n' .. ARGV[6])
return 1
";

/// Takes or keeps the relay, if no other has it: lease; holder, milliseconds.
const HOLD: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Gives the relay up, if it is one's own: lease; holder.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";

/// Raises a position, never back: key; position.
const RAISE: &str = r"
local at = redis.call('GET', KEYS[1])
if not at or at < ARGV[1] then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
";

static APPENDING: LazyLock<Script> = LazyLock::new(|| Script::new(APPEND));

/// An event on its way to the logs of those whom it concerns.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its place.
    pub position: Position,
    /// What is kept.
    pub content: Content,
    /// What their devices are sent: a frame, and who gets it.
    pub frames: Vec<(Arc<str>, Vec<UserId>)>,
}

/// One connection to write over. What is written before it breaks may be lost with a server that
/// forgets, so each new one begins by looking at [how far](Writer::bounds) the logs are.
pub struct Writer {
    connection: MultiplexedConnection,
    bus: Bus,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Bus {
    /// A new connection to write over.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn writer(&self) -> Result<Writer> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connection.await.map_err(away)?;
        Ok(Writer { connection, bus: self.clone() })
    }
}

impl Writer {
    /// Takes the relay or keeps it for two more seconds; `false` while another instance has it.
    /// Two at once would only do the same work twice.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn hold(&mut self) -> Result<bool> {
        let (lease, held) = (self.bus.names.relay(), HELD.as_millis().to_string());
        let mut command = redis::cmd("EVAL");
        command.arg(HOLD).arg(1).arg(lease).arg(&*self.bus.holder).arg(held);
        let taken: u8 = command.query_async(&mut self.connection).await.map_err(away)?;
        Ok(taken == 1)
    }

    /// Gives the relay up.
    pub async fn release(mut self) {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(self.bus.names.relay()).arg(&*self.bus.holder);
        // Where this does not arrive, the lease ends by itself.
        let _: std::result::Result<u8, _> = command.query_async(&mut self.connection).await;
    }

    /// From where and up to where the logs are complete; `None` where there are none.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn bounds(&mut self) -> Result<Option<(Position, Position)>> {
        let mut commands = redis::pipe();
        commands.get(self.bus.names.from()).get(self.bus.names.at());
        let (from, at): (Option<String>, Option<String>) = self.ask(&commands).await?;
        Ok(from.zip(at).and_then(|(from, at)| from.parse().ok().zip(at.parse().ok())))
    }

    /// Begins the logs anew: nothing before this position is in them.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn begin(&mut self, from: Position) -> Result<()> {
        let mut commands = redis::pipe();
        commands.set(self.bus.names.from(), from.to_string()).ignore();
        commands.set(self.bus.names.at(), from.to_string()).ignore();
        self.ask(&commands).await
    }

    /// Writes events to the logs of those whom they concern, in this order, and tells them; what
    /// was written before is passed over. All logs are complete up to `at` then.
    ///
    /// # Errors
    /// When Redis is away; some may be written then.
    pub async fn write(&mut self, deliveries: &[Delivery], at: Position) -> Result<()> {
        let mut commands = begun();
        for delivery in deliveries {
            self.put(&mut commands, delivery).await?;
        }
        let raise = commands.cmd("EVAL").arg(RAISE).arg(1).arg(self.bus.names.at());
        raise.arg(at.to_string()).ignore();
        self.ask::<()>(&commands).await?;
        self.bus.has_reached(at);
        Ok(())
    }

    async fn put(&mut self, commands: &mut Pipeline, delivery: &Delivery) -> Result<()> {
        let Delivery { position, content, frames } = delivery;
        let entry = serde_json::to_string(content).map_err(Error::internal)?;
        let conversation = content.event.conversation();
        let conversation = conversation.as_ref().map(ConversationId::to_string).unwrap_or_default();
        let is_shared = frames.len() == 1;
        for (frame, users) in frames {
            let is_fetched = is_shared && users.len() > INLINE;
            if is_fetched {
                let key = self.bus.names.frame(*position);
                commands.set_ex(key, &**frame, FRAME_KEPT).ignore();
            }
            for user in users {
                let append = commands.cmd("EVALSHA").arg(APPENDING.get_hash()).arg(2);
                append.arg(self.bus.names.log(*user)).arg(self.bus.names.channel(*user));
                append.arg(stream_id(*position)).arg(&entry);
                append.arg(KEPT + 1).arg(KEPT_FOR.as_secs()).arg(&conversation);
                append.arg(if is_fetched { "" } else { &**frame }).ignore();
                if commands.len() >= TOGETHER {
                    let full = std::mem::replace(commands, begun());
                    self.ask::<()>(&full).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T> {
        commands.query_async(&mut self.connection).await.map_err(away)
    }
}

/// The beginning of commands that append.
fn begun() -> Pipeline {
    let mut commands = redis::pipe();
    commands.cmd("SCRIPT").arg("LOAD").arg(APPEND).ignore();
    commands
}
