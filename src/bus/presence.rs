//! Connections over all instances: `online:{user}`, a sorted set with a member for each connection,
//! which expires unless its instance renews it; `seen:{user}`, the time of the last connection;
//! `instances`, the running instances.
//!
//! Expiry uses the clock of Redis, because the clocks of instances differ. Times that clients see come
//! from the clock of the instance, as all other times do.

mod scripts;

use std::sync::Arc;
use std::time::Duration;

use self::scripts::{ASKING, BEATING, JOINING, LISTING, RENEWING};
use super::{Bus, BusMessage};
use crate::domain::clock::Timestamp;
use crate::domain::events::Frame;
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

/// How long a connection counts without renewal.
pub const CONNECTION_TTL: Duration = Duration::from_secs(20);

/// How long an instance counts without a heartbeat, which it sends every second: longer than its
/// connections, which have expired by then.
const INSTANCE_TTL: Duration = Duration::from_secs(24);

/// How long Redis keeps the time of the last connection.
const LAST_SEEN_TTL: Duration = Duration::from_hours(90 * 24);

/// Commands of one pipeline.
const COMMAND_BATCH: usize = 1000;

/// The connections of a user to an instance.
#[derive(Debug, Clone)]
pub struct Own {
    /// The user.
    pub user: UserId,
    /// Connections that count.
    pub connections: Vec<u64>,
    /// Connections that are not yet admitted or refused.
    pub expected: Vec<u64>,
    /// When the user was last connected.
    pub seen: Timestamp,
}

/// Connections of a user before and after a renewal, over all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many there were.
    pub before: usize,
    /// How many there are.
    pub after: usize,
}

/// The presence of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether any of their devices is connected.
    pub online: bool,
    /// When the user was last connected.
    pub seen: Option<Timestamp>,
    /// How long ago an instance last renewed a connection of the user.
    pub heard_of: Duration,
    /// Orders the states of a user: microseconds, by the clock of Redis.
    pub stamp: u64,
}

impl Bus {
    /// Adds a connection of a user; how many there were, or `None` where there are `most` already.
    pub async fn join(
        &self,
        user: UserId,
        connection: u64,
        most: usize,
        now: Timestamp,
    ) -> Result<Option<usize>> {
        let mut script = JOINING.script.prepare_invoke();
        script.key(self.names.online(user)).key(self.names.seen(user));
        script.arg(self.member(connection)).arg(millis(CONNECTION_TTL)).arg(most);
        script.arg(now.millis()).arg(LAST_SEEN_TTL.as_secs());
        let before: i64 =
            script.invoke_async(&mut self.commands.clone()).await.map_err(super::away)?;
        Ok(usize::try_from(before).ok())
    }

    /// Replaces the connections of these users to this instance.
    ///
    /// # Errors
    /// When Redis is away: some may have been renewed.
    pub async fn renew(&self, owned: &[Own]) -> Result<Vec<Count>> {
        let mut counts = Vec::with_capacity(owned.len());
        for some in owned.chunks(COMMAND_BATCH) {
            let mut commands = redis::pipe();
            commands.cmd("SCRIPT").arg("LOAD").arg(&RENEWING.text).ignore();
            for own in some {
                let renew = commands.cmd("EVALSHA").arg(RENEWING.script.get_hash()).arg(2);
                renew.arg(self.names.online(own.user)).arg(self.names.seen(own.user));
                renew.arg(self.member("")).arg(millis(CONNECTION_TTL));
                renew.arg(own.seen.millis()).arg(LAST_SEEN_TTL.as_secs());
                renew.arg(own.connections.len());
                for connection in own.connections.iter().chain(&own.expected) {
                    renew.arg(self.member(connection));
                }
            }
            let found: Vec<(usize, usize)> = self.ask(&commands).await?;
            counts.extend(found.into_iter().map(|(before, after)| Count { before, after }));
        }
        Ok(counts)
    }

    /// The presence of these users, in this order.
    pub async fn states(&self, users: &[UserId]) -> Result<Vec<State>> {
        let mut states = Vec::with_capacity(users.len());
        for some in users.chunks(COMMAND_BATCH) {
            let mut commands = redis::pipe();
            commands.cmd("SCRIPT").arg("LOAD").arg(&ASKING.text).ignore();
            for user in some {
                let ask = commands.cmd("EVALSHA").arg(ASKING.script.get_hash()).arg(2);
                ask.arg(self.names.online(*user)).arg(self.names.seen(*user));
                ask.arg(millis(LAST_SEEN_TTL));
            }
            let found: Vec<(usize, String, String, String)> = self.ask(&commands).await?;
            for (count, seen, stamp, ago) in found {
                let seen = seen.parse().ok().map(Timestamp::from_millis);
                let stamp = stamp.parse().map_err(Error::internal)?;
                let heard_of = Duration::from_millis(ago.parse().map_err(Error::internal)?);
                states.push(State { online: count > 0, seen, heard_of, stamp });
            }
        }
        Ok(states)
    }

    /// Sends a heartbeat of this instance.
    pub async fn beat(&self) -> Result<()> {
        let mut commands = redis::pipe();
        let beat = commands.cmd("EVAL").arg(&BEATING.text).arg(1).arg(self.names.instances());
        beat.arg(&*self.holder).arg(millis(INSTANCE_TTL)).ignore();
        self.ask(&commands).await
    }

    /// The running instances, and whether this is one of them; it is not after Redis lost its data.
    pub async fn alive(&self) -> Result<(Vec<String>, bool)> {
        let mut commands = redis::pipe();
        commands.add_command(self.list_instances());
        let (alive,): (Vec<String>,) = self.ask(&commands).await?;
        let is_known = alive.iter().any(|one| **one == *self.holder);
        Ok((alive, is_known))
    }

    /// The command that lists the running instances.
    pub(super) fn list_instances(&self) -> redis::Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&LISTING.text).arg(1).arg(self.names.instances());
        command
    }

    /// Removes this instance.
    ///
    /// # Errors
    /// When Redis is away: the entry expires.
    pub async fn retire(&self) -> Result<()> {
        let mut commands = redis::pipe();
        commands.zrem(self.names.instances(), &*self.holder).ignore();
        self.ask(&commands).await
    }

    /// Publishes presence, each to its users.
    ///
    /// # Errors
    /// When Redis is away: some may be published.
    pub async fn tell_presence(&self, news: &[(PresenceUpdate, Vec<UserId>)]) -> Result<()> {
        let mut tellings = Vec::new();
        for (PresenceUpdate { user, stamp, online, frame }, users) in news {
            let text: Arc<str> =
                format!("P\n{user}\n{stamp}\n{}\n{frame}", u8::from(*online)).into();
            tellings.extend(users.iter().map(|user| (*user, text.clone())));
        }
        self.publish(&tellings).await
    }

    /// Publishes on the channels of users.
    pub(super) async fn publish(&self, tellings: &[(UserId, Arc<str>)]) -> Result<()> {
        for some in tellings.chunks(COMMAND_BATCH) {
            let mut commands = redis::pipe();
            for (user, text) in some {
                commands.publish(self.names.channel(*user), &**text).ignore();
            }
            self.ask::<()>(&commands).await?;
        }
        Ok(())
    }

    fn member(&self, connection: impl std::fmt::Display) -> String {
        format!("{}:{connection}", self.holder)
    }
}

/// A user came online or went offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceUpdate {
    /// The user.
    pub user: UserId,
    /// Orders the updates of a user.
    pub stamp: u64,
    /// Whether any of their devices is connected.
    pub online: bool,
    /// The frame.
    pub frame: Frame,
}

/// Reads what [`Bus::tell_presence`] wrote.
pub(super) fn read(text: &str) -> Option<BusMessage> {
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next();
    let (user, stamp) = (part()?.parse().ok()?, part()?.parse().ok()?);
    let (online, frame) = (part()? == "1", part()?.into());
    Some(BusMessage::Presence(PresenceUpdate { user, stamp, online, frame }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
