//! That nothing more is told: before whoever ended something learns that it is over, no device
//! hears any more of it.

use std::time::Duration;

use tokio::time::timeout;

use crate::bus::Bus;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::repositories::events::Events;

/// How long a request waits for that. Without Redis nothing is told anyway.
const WITHIN: Duration = Duration::from_secs(1);

/// Keeps devices from hearing what their user is to see no more.
#[derive(Debug, Clone)]
pub struct AccessRevocation {
    bus: Bus,
    events: Events,
}

impl AccessRevocation {
    /// AccessRevocation over this bus, in the order of these events.
    #[must_use]
    pub fn new(bus: &Bus, events: &Events) -> Self {
        Self { bus: bus.clone(), events: events.clone() }
    }

    /// A user is out of a conversation.
    pub async fn of_member(&self, conversation: ConversationId, user: UserId) {
        kept(self.bus.leave(&[user], conversation, None)).await;
    }

    /// These users are out of a conversation that has ended.
    pub async fn of_all_members(&self, conversation: ConversationId, users: &[UserId]) {
        kept(async {
            let now = self.events.now().await?;
            self.bus.leave(users, conversation, Some(now)).await
        })
        .await;
    }

    /// One of these two has blocked the other.
    pub async fn between(&self, one: UserId, other: UserId) {
        kept(self.bus.part(one, other)).await;
    }
}

/// What was done is done, whether or not this could be told.
async fn kept(told: impl Future<Output = Result<()>>) {
    let told = timeout(WITHIN, told).await;
    if let Err(error) = told.unwrap_or_else(|_| Err(Error::unavailable())) {
        tracing::debug!(event = "silence_untold", %error);
    }
}
