//! Redis between instances: the event log of each user, and the channels that carry events to
//! instances. Keys and channels of a user have the user's id in braces, so that a Redis cluster keeps
//! them in one slot.

mod bounds;
pub mod lease;
pub mod log;
pub mod presence;
pub mod subscriber;
pub mod writer;

mod revocation;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline, RedisError};
use tokio::time::Instant;

pub use self::bounds::{Bounds, Epoch};
use self::presence::PresenceUpdate;
use crate::admission::Admission;
use crate::domain::clock::random_bytes;
use crate::domain::events::{Envelope, Frame, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::metrics::PoolsMetrics;

/// Commands in flight on the one connection for commands.
const IN_FLIGHT: u32 = 64;

/// The time limit to connect, and for the answer to a command.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// Begins the name of every instance that reads `E2`, the present form of events on the bus.
/// Instances that do not have it in their names read `E` only, so they go on relaying until the
/// last of them has stopped; see [`Lease::take`](lease::Lease::take).
const EVENT_FORMAT: &str = "2-";

/// The connection to other instances.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    commands: ConnectionManager,
    admission: Admission,
    names: Names,
    /// The name of this instance.
    holder: Arc<str>,
    /// The position up to which the relay has written the logs, as far as this instance knows.
    reached: Arc<Mutex<Option<Position>>>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({})", self.names.prefix)
    }
}

/// The names of keys and channels.
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

    /// The metadata of all logs.
    fn logs(&self) -> String {
        format!("{}logs", self.prefix)
    }

    /// The channel of the position up to which the relay has written the logs.
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

/// A message of the subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// A message on the channel of a user.
    Message(UserId, BusMessage),
    /// The relay has published all events of this epoch up to here.
    Progress(Epoch, Position),
}

/// A message on the channel of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusMessage {
    /// An event, which the log of the user has too.
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
    /// A friend came online or went offline.
    Presence(PresenceUpdate),
    /// A member of a conversation is typing.
    Typing(Typing),
    /// The user lost access to a conversation. The instance [confirms](Bus::confirm) it.
    ConversationRevoked {
        /// The conversation.
        conversation: ConversationId,
        /// The last position to withhold; `None` if the user may be a member again.
        until: Option<Position>,
        /// The token of the confirmation.
        token: Arc<str>,
    },
    /// One of two users blocked the other. The instance [confirms](Bus::confirm) it.
    PairRevoked {
        /// The other user.
        other: UserId,
        /// The token of the confirmation.
        token: Arc<str>,
    },
}

/// A typing indicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typing {
    /// The conversation.
    pub conversation: ConversationId,
    /// The member who is typing.
    pub user: UserId,
    /// The frame.
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
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let commands = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        let holder = format!("{EVENT_FORMAT}{}", u128::from_be_bytes(random_bytes())).into();
        let names = Names { prefix: prefix.into() };
        let admission = Admission::new(IN_FLIGHT, metrics.pool("redis_bus"));
        Ok(Self { client, commands, admission, names, holder, reached: Arc::default() })
    }

    /// Whether an instance may publish a typing indicator of a user now: at most one in `not_before`,
    /// over all instances.
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

    /// Publishes a typing indicator to these users.
    ///
    /// # Errors
    /// When Redis is away: the indicator is lost.
    pub async fn tell_typing(&self, typing: &Typing, users: &[UserId]) -> Result<()> {
        let Typing { conversation, user, frame } = typing;
        let text: Arc<str> = format!("T\n{conversation}\n{user}\n{frame}").into();
        let tellings: Vec<_> = users.iter().map(|user| (*user, text.clone())).collect();
        self.publish(&tellings).await
    }

    /// The frame of an event with a large audience; `None` after it expired.
    pub async fn frame(&self, position: Position) -> Result<Option<Frame>> {
        let mut commands = redis::pipe();
        commands.get(self.names.frame(position));
        let (frame,): (Option<String>,) = self.ask(&commands).await?;
        Ok(frame.map(Into::into))
    }

    async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        let _place = self.admission.place(Instant::now() + REDIS_TIMEOUT).await?;
        commands.query_async(&mut self.commands.clone()).await.map_err(away)
    }
}

fn away(error: RedisError) -> Error {
    Error::unavailable().with_source(error)
}
