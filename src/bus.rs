//! Redis between instances: each user's event log, and the channels on which what happens is
//! told. Keys and channels of one user have the user's id in braces, so that a cluster keeps them
//! in one place and its sharded channels would do.

mod bounds;
pub mod lease;
pub mod log;
pub mod presence;
pub mod subscriber;
pub mod writer;

mod leaving;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline, RedisError};
use tokio::time::Instant;

pub use self::bounds::{Bounds, Epoch};
use self::presence::News;
use crate::admission::Admission;
use crate::domain::clock::random_bytes;
use crate::domain::events::{Envelope, Frame, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::metrics::PoolsMetrics;

/// How many questions may be under way on the one connection for commands.
const IN_FLIGHT: u32 = 64;

/// How long a connection may take to come about, and again a command to be answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Begins the name of every instance that reads `E2`, the present form of events on the bus.
/// Instances that do not have it in their names read `E` only, so they go on relaying until the
/// last of them has stopped; see [`Lease::take`](lease::Lease::take).
const FORMAT: &str = "2-";

/// The way to other instances.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    commands: ConnectionManager,
    admission: Admission,
    names: Names,
    /// What this instance is to others.
    holder: Arc<str>,
    /// How far it knows the logs to be written.
    reached: Arc<Mutex<Option<Position>>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({})", self.names.prefix)
    }
}

/// What keys and channels are called.
#[derive(Debug, Clone)]
struct Names {
    prefix: Arc<str>,
}

impl Names {
    fn log(&self, epoch: Epoch, user: UserId) -> String {
        format!("{}log:{{{user}}}:{}", self.prefix, epoch.text())
    }

    fn channel(&self, user: UserId) -> String {
        format!("{}to:{{{user}}}", self.prefix)
    }

    fn user_of(&self, channel: &str) -> Option<UserId> {
        let name = channel.strip_prefix(&*self.prefix)?;
        name.strip_prefix("to:{")?.strip_suffix('}')?.parse().ok()
    }

    /// What all logs have in common.
    fn logs(&self) -> String {
        format!("{}logs", self.prefix)
    }

    /// Where all instances are told how far the logs are written.
    fn progress(&self) -> String {
        format!("{}progress", self.prefix)
    }

    fn online(&self, user: UserId) -> String {
        format!("{}online:{{{user}}}", self.prefix)
    }

    fn seen(&self, user: UserId) -> String {
        format!("{}seen:{{{user}}}", self.prefix)
    }

    fn typing(&self, user: UserId, conversation: ConversationId) -> String {
        format!("{}typing:{{{user}}}:{conversation}", self.prefix)
    }

    fn instances(&self) -> String {
        format!("{}instances", self.prefix)
    }

    fn relay(&self) -> String {
        format!("{}relay", self.prefix)
    }

    fn known(&self, token: &str) -> String {
        format!("{}known:{token}", self.prefix)
    }

    fn frame(&self, position: Position) -> String {
        format!("{}frame:{position}", self.prefix)
    }
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// This user is told something.
    Of(UserId, Told),
    /// All that is in the logs of this epoch up to here was told before.
    Progress(Epoch, Position),
}

/// What is told on a user's channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An event, which the user's log has by now.
    Event {
        /// The position of the event.
        position: Position,
        /// The position of the event before it in the same log; `None` where it is unknown.
        previous: Option<Position>,
        /// The event. The frame is missing if the instance must [fetch](Bus::frame) it.
        envelope: Envelope<Option<Frame>>,
    },
    /// An event that an instance of an earlier version relays: only the log says what it is.
    Unnamed {
        /// The position of the event.
        position: Position,
    },
    /// A friend came or went.
    Presence(News),
    /// Someone is typing.
    Typing(Typing),
    /// Nothing more of what this conversation was until now; to be [confirmed](Bus::confirm).
    Left {
        /// Which.
        conversation: ConversationId,
        /// Until when; `None` where the user may be in it again by now.
        until: Option<Position>,
        /// What to confirm it under.
        token: Arc<str>,
    },
    /// Nothing new of what is between the two; to be [confirmed](Bus::confirm).
    Parted {
        /// The other of the two.
        other: UserId,
        /// What to confirm it under.
        token: Arc<str>,
    },
}

/// That someone is typing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typing {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// The whole frame.
    pub frame: Frame,
}

impl Bus {
    /// The bus of this client's server; connects when it is first used. Waits for its connection
    /// are counted in `metrics`.
    ///
    /// # Errors
    /// When the client cannot be used.
    pub fn new(
        client: Client,
        prefix: &str,
        metrics: &PoolsMetrics,
    ) -> std::result::Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        let holder = format!("{FORMAT}{}", u128::from_be_bytes(random_bytes())).into();
        let names = Names { prefix: prefix.into() };
        let admission = Admission::new(IN_FLIGHT, metrics.pool("redis_bus"));
        Ok(Self { client, commands, admission, names, holder, reached: Arc::default() })
    }

    /// Whether a user may be told of as typing now: not so soon after the last time. Over all
    /// instances, one of two at once may.
    pub async fn may_type(
        &self,
        user: UserId,
        conversation: ConversationId,
        not_before: Duration,
    ) -> Result<bool> {
        let mut commands = redis::pipe();
        let set = commands.cmd("SET").arg(self.names.typing(user, conversation)).arg(1);
        set.arg("NX").arg("PX").arg(u64::try_from(not_before.as_millis()).unwrap_or(u64::MAX));
        let (set,): (Option<String>,) = self.ask(&commands).await?;
        Ok(set.is_some())
    }

    /// Tells these users' devices that someone is typing.
    ///
    /// # Errors
    /// When Redis is away: it is not told then.
    pub async fn tell_typing(&self, typing: &Typing, users: &[UserId]) -> Result<()> {
        let Typing { conversation, user, frame } = typing;
        let text: Arc<str> = format!("T\n{conversation}\n{user}\n{frame}").into();
        let tellings: Vec<_> = users.iter().map(|user| (*user, text.clone())).collect();
        self.publish(&tellings).await
    }

    /// The frame of an event that concerns many.
    pub async fn frame(&self, position: Position) -> Result<Option<Frame>> {
        let mut commands = redis::pipe();
        commands.get(self.names.frame(position));
        let (frame,): (Option<String>,) = self.ask(&commands).await?;
        Ok(frame.map(Into::into))
    }

    async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        let _place = self.admission.place(Instant::now() + PATIENCE).await?;
        commands.query_async(&mut self.commands.clone()).await.map_err(away)
    }
}

fn away(error: RedisError) -> Error {
    Error::unavailable().with_source(error)
}
