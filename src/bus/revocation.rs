//! Revocations: all instances learn that a user lost access, and confirm. After that no instance
//! sends an event in flight that the user may not see.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Bus, BusMessage};
use crate::domain::clock::random_bytes;
use crate::domain::events::Position;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;

/// How long a revocation waits for confirmations. A crashed instance never confirms.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);

/// How often it reads the count of confirmations.
const CONFIRM_POLL_INTERVAL: Duration = Duration::from_millis(3);

/// How long Redis keeps the count, in seconds.
const CONFIRMATION_TTL_SECONDS: i64 = 10;

/// Commands of one pipeline.
const COMMAND_BATCH: usize = 1000;

impl Bus {
    /// Withholds events of a conversation from users who left it. For a conversation that ended, `until`
    /// is its last position.
    ///
    /// # Errors
    /// When Redis is away: no instance sends events either.
    pub async fn revoke_conversation(
        &self,
        users: &[UserId],
        conversation: ConversationId,
        until: Option<Position>,
    ) -> Result<()> {
        let until = until.map(|it| it.to_string()).unwrap_or_default();
        let what = format!("{conversation}:{until}");
        let told: Vec<_> = users.iter().map(|user| (*user, 'L', what.clone())).collect();
        self.revoke(&told).await
    }

    /// Withholds new events between two users after one blocked the other.
    ///
    /// # Errors
    /// When Redis is away: no instance sends events either.
    pub async fn revoke_pair(&self, one: UserId, other: UserId) -> Result<()> {
        self.revoke(&[(one, 'B', other.to_string()), (other, 'B', one.to_string())]).await
    }

    async fn revoke(&self, told: &[(UserId, char, String)]) -> Result<()> {
        let token = format!("{:032x}", u128::from_be_bytes(random_bytes()));
        let mut heard = 0;
        for some in told.chunks(COMMAND_BATCH) {
            let mut commands = redis::pipe();
            for (user, kind, what) in some {
                let channel = self.names.channel(*user);
                commands.publish(channel, format!("{kind}\n{what}\n{token}"));
            }
            let counts: Vec<u64> = self.ask(&commands).await?;
            heard += counts.iter().sum::<u64>();
        }
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let mut known = redis::pipe();
        known.get(self.names.known(&token));
        let mut confirmed = 0;
        while confirmed < heard && Instant::now() < deadline {
            sleep(CONFIRM_POLL_INTERVAL).await;
            let (count,): (Option<u64>,) = self.ask(&known).await?;
            confirmed = count.unwrap_or(0);
        }
        Ok(())
    }

    /// Confirms the revocation with this token.
    pub async fn confirm(&self, token: &str) -> Result<()> {
        let key = self.names.known(token);
        let mut commands = redis::pipe();
        commands.incr(&key, 1).ignore().expire(&key, CONFIRMATION_TTL_SECONDS).ignore();
        self.ask(&commands).await
    }
}

/// Reads a message of [`Bus::revoke_conversation`] or [`Bus::revoke_pair`].
pub(super) fn told(kind: &str, rest: &str) -> Option<BusMessage> {
    let (what, token) = rest.split_once('\n')?;
    let token = token.into();
    match kind {
        "L" => {
            let (conversation, until) = what.split_once(':')?;
            let (conversation, until) = (conversation.parse().ok()?, until.parse().ok());
            Some(BusMessage::ConversationRevoked { conversation, until, token })
        }
        "B" => Some(BusMessage::PairRevoked { other: what.parse().ok()?, token }),
        _ => None,
    }
}
