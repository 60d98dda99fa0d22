//! Writing the logs and telling of it, in the order of what happened.

use std::fmt;
use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, Script};

use super::bounds::{BEGIN, EVICTED_KEYS, Found, RAISE};
use super::lease::Lease;
use super::log::{Content, KEPT, KEPT_FOR, stream_id};
use super::{Bounds, Bus, Epoch, PATIENCE, away};
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::failpoint;

/// For how many users a frame goes with each telling; for more it is kept once, to be fetched.
const INLINE: usize = 8;

/// How many commands go out together: far fewer than take as long as an answer may.
const TOGETHER: usize = 2000;

/// For how long it is kept then, in seconds.
const FRAME_KEPT: u64 = 60;

/// Appends one event to one log, unless the log has it, and publishes it. Keys: log, channel.
/// Arguments: id, entry, how many entries to keep, for how many seconds, the [head](head), frame.
const APPEND: &str = r"
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = top[1] and top[1][1] or ''
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '=', ARGV[3], ARGV[1], 'e', ARGV[2])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller') then return 0 end
  return added
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', KEYS[2], 'E2\n' .. ARGV[1] .. '\n' .. last .. '\n' .. ARGV[5] .. '\n' .. ARGV[6])
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
    pub frames: Vec<(Envelope, Vec<UserId>)>,
}

/// One connection to write over. What is written before it breaks may be lost with a server that
/// forgets, so each new one begins by looking at [how far](Writer::bounds) the logs are.
pub struct Writer {
    connection: MultiplexedConnection,
    bus: Bus,
    epoch: Option<Epoch>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Bus {
    /// A new connection to write over.
    pub async fn writer(&self) -> Result<Writer> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connection.await.map_err(away)?;
        Ok(Writer { connection, bus: self.clone(), epoch: None })
    }
}

impl Writer {
    /// The right to use it.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease::new(self.connection.clone(), self.bus.clone())
    }

    /// What is written from now on goes to the logs that there are; `None` where there are none.
    pub async fn bounds(&mut self) -> Result<Option<Bounds>> {
        let bounds = self.found().await?.bounds();
        self.epoch = bounds.map(|bounds| bounds.epoch);
        Ok(bounds)
    }

    async fn found(&mut self) -> Result<Found> {
        let mut commands = redis::pipe();
        Found::ask(&self.bus.names, &mut commands);
        let (found,) = self.ask(&commands).await?;
        Ok(Found::new(found))
    }

    /// Begins new logs, and writes to them from now on: nothing before this position is in them.
    ///
    /// # Errors
    /// When Redis is away, or another instance has begun them.
    pub async fn begin(&mut self, from: Position) -> Result<()> {
        let found = self.found().await?;
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(EVICTED_KEYS).arg(0);
        let (evicted,): (String,) = self.ask(&commands).await?;
        let epoch = Epoch::random();
        let mut commands = self.common(BEGIN);
        let begin = commands.arg(found.written()).arg(epoch.text()).arg(from.to_string());
        begin.arg(if evicted.is_empty() { "-1" } else { &evicted });
        self.done(&commands).await?;
        self.epoch = Some(epoch);
        Ok(())
    }

    /// A script on what all logs have in common.
    fn common(&self, script: &str) -> Pipeline {
        let mut commands = redis::pipe();
        let names = &self.bus.names;
        commands.cmd("EVAL").arg(script).arg(2).arg(names.logs()).arg(names.progress());
        commands
    }

    async fn done(&mut self, commands: &Pipeline) -> Result<()> {
        let (done,): (u8,) = self.ask(commands).await?;
        if done == 1 { Ok(()) } else { Err(Error::unavailable()) }
    }

    /// Writes events to the logs of those whom they concern, in this order, and tells them; what
    /// was written before is passed over. All logs are complete up to `at` then.
    ///
    /// # Errors
    /// When Redis is away or has lost these logs; some may be written then.
    pub async fn write(&mut self, deliveries: &[Delivery], at: Position) -> Result<()> {
        let epoch = self.epoch.ok_or_else(|| Error::internal("logs that were not looked at"))?;
        let mut commands = begun();
        for delivery in deliveries {
            self.put(&mut commands, delivery, epoch).await?;
        }
        // Only when all of it was answered: of what goes out together some may fail.
        self.ask::<()>(&commands).await?;
        failpoint::reach("relay.appended");
        let mut raise = self.common(RAISE);
        raise.arg(epoch.text()).arg(at.to_string());
        self.done(&raise).await?;
        self.bus.has_reached(at);
        Ok(())
    }

    async fn put(
        &mut self,
        commands: &mut Pipeline,
        delivery: &Delivery,
        epoch: Epoch,
    ) -> Result<()> {
        let Delivery { position, content, frames } = delivery;
        let entry = serde_json::to_string(content).map_err(Error::internal)?;
        let is_shared = frames.len() == 1;
        for (envelope, users) in frames {
            let (head, frame) = (head(envelope), &envelope.frame);
            let is_fetched = is_shared && users.len() > INLINE;
            if is_fetched {
                let key = self.bus.names.frame(*position);
                commands.set_ex(key, &**frame, FRAME_KEPT).ignore();
            }
            for user in users {
                let append = commands.cmd("EVALSHA").arg(APPENDING.get_hash()).arg(2);
                append.arg(self.bus.names.log(epoch, *user)).arg(self.bus.names.channel(*user));
                append.arg(stream_id(*position)).arg(&entry);
                append.arg(KEPT + 1).arg(KEPT_FOR.as_secs()).arg(&head);
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

/// The part of a message that says what its frame is; [`Messages`](super::subscriber::Messages)
/// reads it.
fn head(envelope: &Envelope) -> String {
    let Envelope { kind, conversation, subject, .. } = envelope;
    let conversation = conversation.map(|it| it.to_string()).unwrap_or_default();
    let subject = subject.map(|it| it.to_string()).unwrap_or_default();
    format!("{conversation}\n{}\n{subject}", kind.name())
}

/// The beginning of commands that append.
fn begun() -> Pipeline {
    let mut commands = redis::pipe();
    commands.cmd("SCRIPT").arg("LOAD").arg(APPEND).ignore();
    commands
}
