//! Stored messages as a reader sees them.

use std::collections::HashMap;

use crate::domain::conversations::{Kind, Summary};
use crate::domain::emoji::fold;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, PeerReceipts, Reaction, StoredMessage};
use crate::error::{Error, Result};
use crate::services::unread::Unread;
use crate::store::Repositories;
use crate::store::Store;
use crate::store::rows::reactions::Reacted;

/// Shows messages: with their status, and what the reader did to them.
#[derive(Debug, Clone)]
pub struct View {
    unread: Unread,
    store: Store,
}

impl View {
    /// The view of these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories) -> Self {
        let unread = Unread::new(&repositories.store);
        Self { unread, store: repositories.store.clone() }
    }

    /// Messages of these conversations, in their order.
    pub async fn of(
        &self,
        reader: UserId,
        summaries: &[&Summary],
        stored: &[StoredMessage],
    ) -> Result<Vec<Message>> {
        let (marks, reacted) =
            tokio::try_join!(self.unread.lowest_in(summaries), self.reacted(reader, stored))?;
        let summaries: HashMap<ConversationId, &Summary> =
            summaries.iter().map(|summary| (summary.id, *summary)).collect();
        let shown = stored.iter().map(|message| {
            let conversation = message.id.conversation;
            let parts = summaries.get(&conversation).zip(marks.get(&conversation));
            let (summary, marks) =
                parts.ok_or_else(|| Error::internal("a message of no conversation"))?;
            Ok(shown(message, summary, marks, &reacted))
        });
        shown.collect()
    }

    /// One message.
    pub async fn one(
        &self,
        reader: UserId,
        summary: &Summary,
        stored: StoredMessage,
    ) -> Result<Message> {
        let mut shown = self.of(reader, &[summary], &[stored]).await?;
        shown.pop().ok_or_else(|| Error::internal("a message that is not shown"))
    }

    /// Messages of one conversation, while they are being read by `load`.
    ///
    /// # Errors
    /// `load`'s own; or the store is away.
    pub async fn page(
        &self,
        reader: UserId,
        summary: &Summary,
        load: impl Future<Output = Result<Vec<StoredMessage>>>,
    ) -> Result<Vec<Message>> {
        let (stored, marks) = tokio::try_join!(
            load,
            Box::pin(self.unread.lowest_in(std::slice::from_ref(&summary)))
        )?;
        let reacted = self.reacted(reader, &stored).await?;
        let marks = marks.get(&summary.id).ok_or_else(|| Error::internal("no marks"))?;
        Ok(stored.iter().map(|message| shown(message, summary, marks, &reacted)).collect())
    }

    /// What the reader did to those that have reactions.
    async fn reacted(&self, reader: UserId, stored: &[StoredMessage]) -> Result<Reacted> {
        let with_reactions = stored.iter().filter(|message| !message.reactions.is_empty());
        let ids: Vec<MessageId> = with_reactions.map(|message| message.id).collect();
        self.store.reactions().of(reader, &ids).await
    }
}

/// A message of this conversation.
pub(in crate::services) fn shown(
    stored: &StoredMessage,
    summary: &Summary,
    marks: &PeerReceipts,
    reacted: &Reacted,
) -> Message {
    let id = stored.id;
    let other = summary.members.iter().find(|member| **member != stored.sender);
    let is_direct = summary.kind == Kind::Direct;
    let reactions = stored.reactions.iter().map(|one| Reaction {
        reacted: reacted.contains(&(id, fold(&one.emoji))),
        emoji: one.emoji.clone(),
        count: one.count,
    });
    Message {
        id,
        conversation_id: id.conversation,
        conversation_type: summary.kind,
        seq: id.seq,
        sender_id: stored.sender,
        recipient_user_id: is_direct.then(|| other.copied().unwrap_or(stored.sender)),
        group_id: (!is_direct).then(|| id.conversation.as_group()),
        message: stored.text.clone(),
        attachments: stored.attachments.clone(),
        reply_to: stored.reply_to.map(|seq| MessageId::new(id.conversation, seq)),
        mentions: stored.mentions.clone(),
        reactions: reactions.collect(),
        pinned: summary.pins.contains(&id.seq),
        status: marks.status(stored.sender, id.seq),
        client_message_id: stored.client_message_id.clone(),
        created_at: stored.at,
        edited_at: stored.edited_at,
        deleted_at: stored.deleted_at,
    }
}

/// A message that has just been sent: nobody has done anything to it yet.
pub(in crate::services) fn sent(
    stored: &StoredMessage,
    summary: &Summary,
    marks: &PeerReceipts,
) -> Message {
    shown(stored, summary, marks, &Reacted::new())
}
