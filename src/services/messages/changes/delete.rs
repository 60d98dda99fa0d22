//! Deleting a message: its place stays, all that was in it goes, and with it the notifications of
//! others.

use super::{Changes, announce, there};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Summary};
use crate::domain::events::Event;
use crate::domain::ids::MessageId;
use crate::domain::messages::{Changed, StoredMessage};
use crate::domain::notifications::NotificationId;
use crate::error::{Error, Result};
use crate::services::attachments;
use crate::store::Tx;
use crate::store::rows::attachment_uses::Use;
use crate::store::rows::deletions::Between;

impl Changes {
    /// Deletes a message; one that is deleted stays so.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let conversation = message.conversation;
        let this = self.clone();
        self.transact(conversation, async move |tx: &mut Tx| {
            let before = this.messages.find_in(tx, message).await?;
            let before = before.ok_or_else(Error::not_found)?;
            if before.deleted_at.is_some() {
                return Ok(Changed { message: before, changed: false });
            }
            let after = this.messages.empty(tx, message, at).await?;
            let uses = before.attachments.iter().map(|file| Use::message(file.id, message));
            attachments::uses::remove(tx, uses, at).await?;
            for user in &before.mentions {
                tx.notifications().withdraw(NotificationId::mention(*user, message)).await?;
            }
            tx.unindexed().add([(message, at)]).await?;
            tx.deletions().add(message, before.sender, at).await?;
            let summary = tx.conversations().find(conversation).await?;
            let summary = summary.ok_or_else(Error::not_found)?;
            there(tx.conversations().note_deleted(message, &summary).await?)?;
            if summary.kind == Kind::Direct {
                this.stop_waiting(tx, &before, &summary).await?;
            }
            announce(tx, message, Event::MessageDeleted { message, at }, at).await?;
            Ok(Changed { message: after.ok_or_else(Error::not_found)?, changed: true })
        })
        .await
    }

    /// If this message waits for the other user of a direct conversation, the last one before it
    /// that is not deleted waits from now on, or none.
    async fn stop_waiting(
        &self,
        tx: &mut Tx,
        message: &StoredMessage,
        summary: &Summary,
    ) -> Result<()> {
        let seq = message.id.seq;
        for user in summary.members.iter().filter(|user| **user != message.sender) {
            let read = tx.members().read_mark_before(summary.id, *user, seq).await?;
            let Some(read) = read else { continue };
            let earlier = self.standing_before(tx, message, read).await?;
            let earlier = earlier.map(|earlier| (earlier.id.seq, earlier.at));
            tx.members().wait_for(summary.id, *user, seq, earlier).await?;
        }
        Ok(())
    }

    /// The last message of the same sender before one and after number `after` that is not
    /// deleted. Reads no more rows than were deleted between, and one.
    async fn standing_before(
        &self,
        tx: &mut Tx,
        message: &StoredMessage,
        after: u64,
    ) -> Result<Option<StoredMessage>> {
        let MessageId { conversation, seq: before } = message.id;
        let between = Between { conversation, after, before };
        let deleted = tx.deletions().of_sender(between, message.sender).await?;
        let sent = tx.sends().between(message.sender, between, deleted.len() + 1).await?;
        match sent.into_iter().find(|id| !deleted.contains(&id.seq)) {
            Some(id) => self.messages.find_in(tx, id).await,
            None => Ok(None),
        }
    }
}
