//! Pinning: the numbers of a conversation's pinned messages, in its summary.

use super::{Changes, announce, there};
use crate::domain::clock::Timestamp;
use crate::domain::events::Event;
use crate::domain::ids::MessageId;
use crate::domain::messages::Changed;
use crate::error::{Error, Result};
use crate::store::Tx;

/// Most pinned messages of one conversation.
const MAX_PINS: usize = 50;

impl Changes {
    /// Pins a message; one that is pinned stays so.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`; `validation_failed` on `message_id` for one pin too many.
    pub async fn pin(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let this = self.clone();
        self.transact(message.conversation, async move |tx: &mut Tx| {
            let stored = this.standing(tx, message).await?;
            let summary = tx.conversations().find(message.conversation).await?;
            let pins = summary.ok_or_else(Error::not_found)?.pins;
            if pins.contains(&message.seq) {
                return Ok(Changed { message: stored, changed: false });
            }
            if pins.len() >= MAX_PINS {
                return Err(too_many_pins());
            }
            there(tx.conversations().pin(message).await?)?;
            announce(tx, message, Event::MessageUpdated { message }, at).await?;
            Ok(Changed { message: stored, changed: true })
        })
        .await
    }

    /// Unpins a message; one that is not pinned stays so.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`.
    pub async fn unpin(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let this = self.clone();
        self.transact(message.conversation, async move |tx: &mut Tx| {
            let stored = this.standing(tx, message).await?;
            let changed = tx.conversations().unpin(message).await?;
            if changed {
                announce(tx, message, Event::MessageUpdated { message }, at).await?;
            }
            Ok(Changed { message: stored, changed })
        })
        .await
    }
}

fn too_many_pins() -> Error {
    Error::field("message_id", "too_many", "conversation has the maximum of 50 pinned messages")
}
