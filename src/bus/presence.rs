//! Who is connected, over all instances: `online:{user}`, a sorted set with a member for each
//! connection, which expires unless its instance renews it; `seen:{user}`, when the last of them
//! was there; `instances`, which instances live.
//!
//! Times at which something expires are Redis' own, as instances may differ about the time; what
//! is shown to people comes from the instances' clock, as all other times do.

mod scripts;

use std::sync::Arc;
use std::time::Duration;

use self::scripts::{ASKING, BEATING, JOINING, LISTING, RENEWING};
use super::{Bus, Told};
use crate::domain::clock::Timestamp;
use crate::domain::events::Frame;
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

/// For how long a connection counts without being renewed.
pub const LASTS: Duration = Duration::from_secs(20);

/// For how long an instance does without saying so, which it does every second: longer than its
/// connections, so that they are gone when it is.
const LIVES: Duration = Duration::from_secs(24);

/// For how long it is known when someone was last there.
const SEEN_KEPT: Duration = Duration::from_hours(90 * 24);

/// How many commands go together.
const TOGETHER: usize = 1000;

/// What an instance has of one user.
#[derive(Debug, Clone)]
pub struct Own {
    /// Whose connections.
    pub user: UserId,
    /// Those that count.
    pub connections: Vec<u64>,
    /// Those that are about to be let in or not.
    pub expected: Vec<u64>,
    /// When the user was last there.
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

/// How someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether any of their devices is connected.
    pub online: bool,
    /// When they were last known to be there.
    pub seen: Option<Timestamp>,
    /// How long ago an instance last said that they are or were there.
    pub heard_of: Duration,
    /// Orders what is known of one user: microseconds, by Redis.
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
        script.arg(self.member(connection)).arg(millis(LASTS)).arg(most);
        script.arg(now.millis()).arg(SEEN_KEPT.as_secs());
        let before: i64 =
            script.invoke_async(&mut self.commands.clone()).await.map_err(super::away)?;
        Ok(usize::try_from(before).ok())
    }

    /// Makes this instance's connections of these users what they are.
    ///
    /// # Errors
    /// When Redis is away: some may have been renewed.
    pub async fn renew(&self, owned: &[Own]) -> Result<Vec<Count>> {
        let mut counts = Vec::with_capacity(owned.len());
        for some in owned.chunks(TOGETHER) {
            let mut commands = redis::pipe();
            commands.cmd("SCRIPT").arg("LOAD").arg(&RENEWING.text).ignore();
            for own in some {
                let renew = commands.cmd("EVALSHA").arg(RENEWING.script.get_hash()).arg(2);
                renew.arg(self.names.online(own.user)).arg(self.names.seen(own.user));
                renew.arg(self.member("")).arg(millis(LASTS));
                renew.arg(own.seen.millis()).arg(SEEN_KEPT.as_secs());
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

    /// How these users are, in this order.
    pub async fn states(&self, users: &[UserId]) -> Result<Vec<State>> {
        let mut states = Vec::with_capacity(users.len());
        for some in users.chunks(TOGETHER) {
            let mut commands = redis::pipe();
            commands.cmd("SCRIPT").arg("LOAD").arg(&ASKING.text).ignore();
            for user in some {
                let ask = commands.cmd("EVALSHA").arg(ASKING.script.get_hash()).arg(2);
                ask.arg(self.names.online(*user)).arg(self.names.seen(*user));
                ask.arg(millis(SEEN_KEPT));
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

    /// Says that this instance lives.
    pub async fn beat(&self) -> Result<()> {
        let mut commands = redis::pipe();
        let beat = commands.cmd("EVAL").arg(&BEATING.text).arg(1).arg(self.names.instances());
        beat.arg(&*self.holder).arg(millis(LIVES)).ignore();
        self.ask(&commands).await
    }

    /// Which instances live, and whether this is one of them: it is not where Redis has lost
    /// everything.
    pub async fn alive(&self) -> Result<(Vec<String>, bool)> {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(&LISTING.text).arg(1).arg(self.names.instances());
        let (alive,): (Vec<String>,) = self.ask(&commands).await?;
        let is_known = alive.iter().any(|one| **one == *self.holder);
        Ok((alive, is_known))
    }

    /// This instance lives no more.
    ///
    /// # Errors
    /// When Redis is away: the others will see it in a while.
    pub async fn retire(&self) -> Result<()> {
        let mut commands = redis::pipe();
        commands.zrem(self.names.instances(), &*self.holder).ignore();
        self.ask(&commands).await
    }

    /// Tells how people are, each to these others.
    ///
    /// # Errors
    /// When Redis is away: some may have been told.
    pub async fn tell_presence(&self, news: &[(News, Vec<UserId>)]) -> Result<()> {
        let mut tellings = Vec::new();
        for (News { user, stamp, online, frame }, users) in news {
            let text: Arc<str> =
                format!("P\n{user}\n{stamp}\n{}\n{frame}", u8::from(*online)).into();
            tellings.extend(users.iter().map(|user| (*user, text.clone())));
        }
        self.publish(&tellings).await
    }

    /// Publishes on the channels of users.
    pub(super) async fn publish(&self, tellings: &[(UserId, Arc<str>)]) -> Result<()> {
        for some in tellings.chunks(TOGETHER) {
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

/// That someone is there now, or not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Who.
    pub user: UserId,
    /// Orders the news of one user.
    pub stamp: u64,
    /// Whether any of their devices is connected.
    pub online: bool,
    /// The whole frame.
    pub frame: Frame,
}

/// Reads what [`Bus::tell_presence`] wrote.
pub(super) fn read(text: &str) -> Option<Told> {
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next();
    let (user, stamp) = (part()?.parse().ok()?, part()?.parse().ok()?);
    let (online, frame) = (part()? == "1", part()?.into());
    Some(Told::Presence(News { user, stamp, online, frame }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
