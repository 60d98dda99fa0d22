//! Revocation of access: before a request that removes access is answered, all instances stop sending
//! what the user may no longer see.

use std::time::Duration;

use tokio::time::timeout;

use crate::bus::Bus;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::store::events::Events;

/// How long a request waits for the instances. Without Redis they send nothing anyway.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells all instances that users lost access.
#[derive(Debug, Clone)]
pub struct AccessRevocation {
    bus: Bus,
    events: Events,
}

impl AccessRevocation {
    /// Revocations over this bus, in the order of these events.
    #[must_use]
    pub fn new(bus: &Bus, events: &Events) -> Self {
        Self { bus: bus.clone(), events: events.clone() }
    }

    /// A user left a conversation.
    pub async fn of_member(&self, conversation: ConversationId, user: UserId) {
        within_timeout(self.bus.revoke_conversation(&[user], conversation, None)).await;
    }

    /// A conversation ended that had these members.
    pub async fn of_all_members(&self, conversation: ConversationId, users: &[UserId]) {
        within_timeout(async {
            let now = self.events.now().await?;
            self.bus.revoke_conversation(users, conversation, Some(now)).await
        })
        .await;
    }

    /// One of the two users blocked the other.
    pub async fn between(&self, one: UserId, other: UserId) {
        within_timeout(self.bus.revoke_pair(one, other)).await;
    }
}

/// The change is committed, so the request succeeds even if the instances did not answer.
async fn within_timeout(revoked: impl Future<Output = Result<()>>) {
    let revoked = timeout(REVOCATION_TIMEOUT, revoked).await;
    if let Err(error) = revoked.unwrap_or_else(|_| Err(Error::unavailable())) {
        tracing::debug!(event = "access_revocation_failed", %error, "instances not told");
    }
}
