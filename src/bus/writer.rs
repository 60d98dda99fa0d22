//! Writes the logs and publishes events, in the order of positions.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, Script};

use super::bounds::{BEGIN, EVICTED_KEYS, LogMetadata, RAISE};
use super::lease::Lease;
use super::log::{Content, LOG_RETENTION, MAX_LOG_ENTRIES, stream_id};
use super::{Bounds, Bus, Epoch, REDIS_TIMEOUT, away};
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::failpoint;

/// The largest audience whose messages contain the frame; for more users Redis keeps the frame once.
const MAX_INLINE_RECIPIENTS: usize = 8;

/// Commands of one pipeline: far fewer than take as long as the time limit.
const COMMAND_BATCH: usize = 2000;

/// How long Redis keeps the frame, in seconds.
const FRAME_TTL_SECONDS: u64 = 60;

/// Appends one event to one log, unless the log has it, and publishes it. Keys: log, channel.
/// Arguments: id, entry, how many entries to keep, for how many seconds, the [head], frame.
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

/// An event for the logs of its audience.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The position.
    pub position: Position,
    /// The content of the entries.
    pub content: Content,
    /// The frames, each with the users who receive it.
    pub frames: Vec<(Envelope, Vec<UserId>)>,
}

/// A connection of the relay. Redis may lose entries with its memory when the connection breaks, so
/// each new one begins by reading the [bounds](Writer::bounds).
#[derive(derive_more::Debug)]
#[debug("Writer")]
pub struct Writer {
    connection: MultiplexedConnection,
    bus: Bus,
    epoch: Option<Epoch>,
}

impl Bus {
    /// A new connection of the relay.
    pub async fn writer(&self) -> Result<Writer> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connection.await.map_err(away)?;
        Ok(Writer { connection, bus: self.clone(), epoch: None })
    }
}

impl Writer {
    /// The lease of the relay, on this connection.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease::new(self.connection.clone(), self.bus.clone())
    }

    /// Continues the present epoch; `None` if there are no logs.
    pub async fn bounds(&mut self) -> Result<Option<Bounds>> {
        let bounds = self.found().await?.bounds();
        self.epoch = bounds.map(|bounds| bounds.epoch);
        Ok(bounds)
    }

    async fn found(&mut self) -> Result<LogMetadata> {
        let mut commands = redis::pipe();
        LogMetadata::ask(&self.bus.names, &mut commands);
        let (found,) = self.ask(&commands).await?;
        Ok(LogMetadata::new(found))
    }

    /// Begins an epoch: its logs have no events before this position.
    ///
    /// # Errors
    /// When Redis is away, or another instance has begun an epoch.
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

    /// A script on the metadata of the logs.
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

    /// Appends events to the logs of their audience in this order, and publishes them. Redis skips
    /// entries that a log has. After that all logs are complete up to `at`.
    ///
    /// # Errors
    /// When Redis is away or lost these logs; some entries may be written.
    pub async fn write(&mut self, deliveries: &[Delivery], at: Position) -> Result<()> {
        let epoch = self.epoch.ok_or_else(|| Error::internal("logs that were not looked at"))?;
        let mut commands = begun();
        for delivery in deliveries {
            self.put(&mut commands, delivery, epoch).await?;
        }
        // Only after every answer: some commands of a pipeline may fail.
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
            let is_fetched = is_shared && users.len() > MAX_INLINE_RECIPIENTS;
            if is_fetched {
                let key = self.bus.names.frame(*position);
                commands.set_ex(key, &**frame, FRAME_TTL_SECONDS).ignore();
            }
            for user in users {
                let append = commands.cmd("EVALSHA").arg(APPENDING.get_hash()).arg(2);
                append.arg(self.bus.names.log(epoch, *user)).arg(self.bus.names.channel(*user));
                append.arg(stream_id(*position)).arg(&entry);
                append.arg(MAX_LOG_ENTRIES + 1).arg(LOG_RETENTION.as_secs()).arg(&head);
                append.arg(if is_fetched { "" } else { &**frame }).ignore();
                if commands.len() >= COMMAND_BATCH {
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

/// The first command of a pipeline that appends.
fn begun() -> Pipeline {
    let mut commands = redis::pipe();
    commands.cmd("SCRIPT").arg("LOAD").arg(APPEND).ignore();
    commands
}
