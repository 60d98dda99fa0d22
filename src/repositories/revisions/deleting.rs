//! Deleting a message: its place stays, all that was in it goes, and with it what others were told.

use mongodb::bson::{Document, doc};

use super::Revisions;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Kind;
use crate::domain::events::Event;
use crate::domain::ids::MessageId;
use crate::domain::messages::Changed;
use crate::domain::notifications::NotificationId;
use crate::error::{Error, Result};
use crate::repositories::attachment_uses::Use;
use crate::repositories::conversations::ConversationRow;
use crate::repositories::deletions::Between;
use crate::repositories::messages::MessageRow;
use crate::repositories::rows::members;
use crate::repositories::rows::sends;
use crate::repositories::store::{Tx, all_in};

impl Revisions {
    /// Deletes a message; one that is deleted stays so.
    ///
    /// # Errors
    /// Not found; the store is away.
    pub async fn delete(&self, message: MessageId, at: Timestamp) -> Result<Changed> {
        let _turn = self.turns.of(message.conversation.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |tx| {
                let row = this.find(tx, message).await?;
                if row.deleted_at.is_some() {
                    return Ok(Changed { message: row.into(), changed: false });
                }
                let empty = doc! {
                    "text": "", "attachments": [], "mentions": [], "reactions": [],
                    "deleted_at": at,
                };
                let after = this.set(tx, message, empty).await?;
                let uses = row.attachments.iter().map(|file| Use::message(file.id, message));
                this.uses.remove(tx, uses, at).await?;
                for member in &row.mentions {
                    let told = NotificationId::mention(member.0, message);
                    tx.notifications().withdraw(told).await?;
                }
                this.unindexed.add(tx, [(message, at)]).await?;
                this.deletions.add(tx, message, row.sender, at).await?;
                let summary = doc! { "_id": message.conversation };
                let summary = this.conversations.find_one(summary).session(tx.session()).await?;
                let summary = summary.ok_or_else(Error::not_found)?;
                this.revise(tx, message.conversation, without(message, &summary)?).await?;
                if summary.kind == Kind::Direct {
                    this.stop_waiting(tx, &row, &summary).await?;
                }
                let deleted = Event::MessageDeleted { message, at };
                this.announce(tx, message, deleted, at).await?;
                Ok(Changed { message: after.into(), changed: true })
            })
            .await
    }

    /// Where this message was what waits for the other user of a direct conversation, the one
    /// before it that still stands does now, or nothing.
    async fn stop_waiting(
        &self,
        tx: &mut Tx,
        message: &MessageRow,
        summary: &ConversationRow,
    ) -> Result<()> {
        let seq = i64::try_from(message.id.seq).map_err(Error::internal)?;
        for member in summary.members.iter().filter(|member| member.0 != message.sender) {
            let row = doc! { "_id": members::key(summary.id, member.0), "waiting_seq": seq };
            let Some(found) = self.members.find_one(row.clone()).session(tx.session()).await?
            else {
                continue;
            };
            let read = found.get_i64("read_seq").map_err(Error::internal)?;
            let read = u64::try_from(read).map_err(Error::internal)?;
            let change = if let Some(earlier) = self.standing_before(tx, message, read).await? {
                let seq = i64::try_from(earlier.id.seq).map_err(Error::internal)?;
                doc! { "$set": { "waiting_seq": seq, "waiting_at": earlier.at } }
            } else {
                doc! { "$unset": { "waiting_seq": "", "waiting_at": "" } }
            };
            self.members.update_one(row, change).session(tx.session()).await?;
        }
        Ok(())
    }

    /// The last message of the same sender before one and after number `after` that stands. Reads
    /// no more rows than were deleted between, and one.
    async fn standing_before(
        &self,
        tx: &mut Tx,
        message: &MessageRow,
        after: u64,
    ) -> Result<Option<MessageRow>> {
        let (conversation, before) = (message.id.conversation, message.id.seq);
        let between = Between { conversation, after, before };
        let deleted = self.deletions.of_sender(tx, between, message.sender).await?;
        let key = |seq| sends::key(message.sender, MessageId::new(conversation, seq));
        let own = doc! { "_id": { "$gt": key(after), "$lt": key(before) } };
        let limit = i64::try_from(deleted.len() + 1).map_err(Error::internal)?;
        let sends = self.sends.find(own).sort(doc! { "_id": -1 }).limit(limit);
        let sends = sends.session(tx.session()).await?;
        for send in all_in(tx.session(), sends).await? {
            let id = sends::message_of(&send.key)?;
            if !deleted.contains(&id.seq) {
                return self.find(tx, id).await.map(Some);
            }
        }
        Ok(None)
    }
}

/// What of a summary changes when one of its messages is deleted.
fn without(message: MessageId, summary: &ConversationRow) -> Result<Document> {
    let seq = i64::try_from(message.seq).map_err(Error::internal)?;
    let mut change = doc! { "$max": { "deleted_seq": seq }, "$pull": { "pins": seq } };
    let mut set = Document::new();
    for (name, last) in [("last.deleted", summary.last), ("other.deleted", summary.other)] {
        if last.is_some_and(|last| last.seq == message.seq) {
            set.insert(name, true);
        }
    }
    if !set.is_empty() {
        change.insert("$set", set);
    }
    Ok(change)
}
