//! Telling all instances that a user is to see no more of something, and waiting until they do so:
//! what was under way before has been sent then, or never will be.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Bus, Told};
use crate::domain::clock::random_bytes;
use crate::domain::events::Position;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;

/// How long instances have to say that they know. One that is gone never says so.
const WITHIN: Duration = Duration::from_millis(500);

/// How often it is asked whether all have.
const ASK: Duration = Duration::from_millis(3);

/// How long their answers are kept, in seconds.
const KEPT: i64 = 10;

/// How many commands go out together.
const TOGETHER: usize = 1000;

impl Bus {
    /// Tells these users' devices nothing more of a conversation that they are out of; where
    /// nobody can be in it again, of what it was up to `until`.
    ///
    /// # Errors
    /// When Redis is away: nothing is told by it either, then.
    pub async fn leave(
        &self,
        users: &[UserId],
        conversation: ConversationId,
        until: Option<Position>,
    ) -> Result<()> {
        let until = until.map(|it| it.to_string()).unwrap_or_default();
        let what = format!("{conversation}:{until}");
        let told: Vec<_> = users.iter().map(|user| (*user, 'L', what.clone())).collect();
        self.silence(&told).await
    }

    /// Tells the devices of two, of whom one has blocked the other, nothing new of each other.
    ///
    /// # Errors
    /// When Redis is away: nothing is told by it either, then.
    pub async fn part(&self, one: UserId, other: UserId) -> Result<()> {
        self.silence(&[(one, 'B', other.to_string()), (other, 'B', one.to_string())]).await
    }

    async fn silence(&self, told: &[(UserId, char, String)]) -> Result<()> {
        let token = format!("{:032x}", u128::from_be_bytes(random_bytes()));
        let mut heard = 0;
        for some in told.chunks(TOGETHER) {
            let mut commands = redis::pipe();
            for (user, kind, what) in some {
                let channel = self.names.channel(*user);
                commands.publish(channel, format!("{kind}\n{what}\n{token}"));
            }
            let counts: Vec<u64> = self.ask(&commands).await?;
            heard += counts.iter().sum::<u64>();
        }
        let deadline = Instant::now() + WITHIN;
        let mut known = redis::pipe();
        known.get(self.names.known(&token));
        let mut confirmed = 0;
        while confirmed < heard && Instant::now() < deadline {
            sleep(ASK).await;
            let (count,): (Option<u64>,) = self.ask(&known).await?;
            confirmed = count.unwrap_or(0);
        }
        Ok(())
    }

    /// Says that this instance tells no more of what it was told under this token.
    pub async fn confirm(&self, token: &str) -> Result<()> {
        let key = self.names.known(token);
        let mut commands = redis::pipe();
        commands.incr(&key, 1).ignore().expire(&key, KEPT).ignore();
        self.ask(&commands).await
    }
}

/// What [`Bus::leave`] and [`Bus::part`] tell.
pub(super) fn told(kind: &str, rest: &str) -> Option<Told> {
    let (what, token) = rest.split_once('\n')?;
    let token = token.into();
    match kind {
        "L" => {
            let (conversation, until) = what.split_once(':')?;
            let (conversation, until) = (conversation.parse().ok()?, until.parse().ok());
            Some(Told::Left { conversation, until, token })
        }
        "B" => Some(Told::Parted { other: what.parse().ok()?, token }),
        _ => None,
    }
}
