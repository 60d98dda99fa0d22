//! Pinning: the numbers of a conversation's pinned messages, in its summary.

use mongodb::bson::doc;

use super::Revisions;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::messages::Changed;
use crate::error::{Error, Result};

/// Most pinned messages of one conversation.
const MAX_PINS: usize = 50;

impl Revisions {
    /// Pins a message; one that is pinned stays so.
    ///
    /// # Errors
    /// Not found; `message_deleted`; `validation_failed` on `message_id` for one pin too many; the
    /// store is away.
    pub async fn pin(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let _turn = self.turns.of(message.conversation.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |tx| {
                let row = this.standing(tx, message).await?;
                let summary = doc! { "_id": message.conversation };
                let summary = this.conversations.find_one(summary).session(tx.session()).await?;
                let pins = summary.ok_or_else(Error::not_found)?.pins;
                if pins.contains(&message.seq) {
                    return Ok(Changed { message: row.into(), changed: false });
                }
                if pins.len() >= MAX_PINS {
                    return Err(too_many_pins());
                }
                let seq = i64::try_from(message.seq).map_err(Error::internal)?;
                let pushed = doc! { "$push": { "pins": seq } };
                this.revise(tx, message.conversation, pushed).await?;
                this.announce_updated(tx, message, at).await?;
                Ok(Changed { message: row.into(), changed: true })
            })
            .await
    }

    /// Unpins a message; one that is not pinned stays so.
    ///
    /// # Errors
    /// Not found; `message_deleted`; the store is away.
    pub async fn unpin(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let _turn = self.turns.of(message.conversation.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |tx| {
                let row = this.standing(tx, message).await?;
                let seq = i64::try_from(message.seq).map_err(Error::internal)?;
                let pinned = doc! { "_id": message.conversation, "pins": seq };
                let pulled = doc! { "$pull": { "pins": seq }, "$inc": { "revision": 1_i64 } };
                let update = this.conversations.update_one(pinned, pulled);
                let changed = update.session(tx.session()).await?.matched_count == 1;
                if changed {
                    this.announce_updated(tx, message, at).await?;
                }
                Ok(Changed { message: row.into(), changed })
            })
            .await
    }
}

fn too_many_pins() -> Error {
    Error::field("message_id", "too_many", "at most 50 pinned messages in a conversation")
}
