//! What one does to a message that is there: reading it alone, editing, deleting, reacting,
//! pinning.

use super::Messages;
use super::changes::Edit;
use crate::domain::conversations::{Kind, Role, Summary};
use crate::domain::emoji::Emoji;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Changed, Message, StoredMessage, message_deleted};
use crate::domain::relations::recipient_unavailable;
use crate::domain::text::MessageText;
use crate::error::{Error, Result};

/// What a member does to a message.
#[derive(Debug, Clone)]
pub enum MessageAction {
    /// Reacts with an emoji.
    React(Emoji),
    /// Takes that reaction back.
    TakeBack(Emoji),
    /// Pins it.
    Pin,
    /// Unpins it.
    Unpin,
}

impl MessageAction {
    /// Whether it brings something new, which nobody brings to someone who is blocked.
    fn is_new(&self) -> bool {
        matches!(self, Self::React(_) | Self::Pin)
    }
}

impl Messages {
    /// One message.
    ///
    /// # Errors
    /// `not_found` for outsiders, and where it is not of this conversation.
    pub async fn one(
        &self,
        reader: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Message> {
        let (summary, stored) = self.find(reader, conversation, message).await?;
        self.view.one(reader, &summary, stored).await
    }

    /// Gives one's own message another text.
    ///
    /// # Errors
    /// `not_found`; `forbidden` for others than its sender; `message_deleted`;
    /// `recipient_unavailable`; `validation_failed` for no text where there is no file either.
    pub async fn edit(
        &self,
        by: UserId,
        conversation: ConversationId,
        message: MessageId,
        text: &MessageText,
    ) -> Result<Message> {
        let (summary, stored) = self.find(by, conversation, message).await?;
        if stored.sender != by {
            return Err(Error::forbidden(
                "forbidden",
                "permission denied: only the sender may edit a message",
            ));
        }
        if stored.deleted_at.is_some() {
            return Err(message_deleted());
        }
        self.check_new(by, &summary).await?;
        let text = text.as_str();
        MessageText::parse(text, !stored.attachments.is_empty())
            .map_err(|broken| Error::field("message", broken.code, broken.message))?;
        let mentioned = self.mentioned(by, conversation, text).await?;
        let edit = Edit {
            message,
            text: text.to_owned(),
            mentions: mentioned.all,
            told: mentioned.told,
            kind: summary.kind,
            at: self.clock.now(),
        };
        let Changed { message, .. } = self.changes.edit(&edit).await?;
        self.view.one(by, &summary, message).await
    }

    /// Deletes a message: its place stays, empty. Again changes nothing.
    ///
    /// # Errors
    /// `not_found`; `forbidden` for others than its sender and a group's owner and admins.
    pub async fn delete(
        &self,
        by: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<()> {
        let (summary, stored) = self.find(by, conversation, message).await?;
        if stored.sender != by && !self.moderates(by, &summary).await? {
            let detail = "permission denied: only the sender, or the owner or an admin of the group, \
                          may delete a message";
            return Err(Error::forbidden("forbidden", detail));
        }
        self.changes.delete(message, self.clock.now()).await.map(drop)
    }

    /// Reacts to a message, pins it, or takes either back; the message after.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`; `recipient_unavailable`; `validation_failed` for too many
    /// pins or kinds of emoji.
    pub async fn action(
        &self,
        by: UserId,
        conversation: ConversationId,
        message: MessageId,
        action: &MessageAction,
    ) -> Result<Message> {
        let (mut summary, stored) = self.find(by, conversation, message).await?;
        if stored.deleted_at.is_some() {
            return Err(message_deleted());
        }
        if action.is_new() {
            self.check_new(by, &summary).await?;
        }
        let (changes, at) = (&self.changes, self.clock.now());
        let changed = match action {
            MessageAction::React(emoji) => changes.react(message, by, emoji, at).await?,
            MessageAction::TakeBack(emoji) => changes.take_back(message, by, emoji, at).await?,
            MessageAction::Pin => changes.pin(message, at).await?,
            MessageAction::Unpin => changes.unpin(message, at).await?,
        };
        // Whether it is pinned is in the summary, which was read before.
        match action {
            MessageAction::Pin => summary.pins.push(message.seq),
            MessageAction::Unpin => summary.pins.retain(|seq| *seq != message.seq),
            MessageAction::React(_) | MessageAction::TakeBack(_) => {}
        }
        self.view.one(by, &summary, changed.message).await
    }

    /// A message of a conversation that the reader is in.
    pub(super) async fn find(
        &self,
        reader: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<(Summary, StoredMessage)> {
        let summary = self.conversations.open(reader, conversation).await?;
        if message.conversation != conversation {
            return Err(Error::not_found());
        }
        let stored = self.repositories.messages.find(message).await?;
        Ok((summary, stored.ok_or_else(Error::not_found)?))
    }

    /// That nothing stands between the two of a direct conversation.
    async fn check_new(&self, by: UserId, summary: &Summary) -> Result<()> {
        let Some(peer) = summary.peer_of(by) else { return Ok(()) };
        if self.repositories.store.relations().blocked_between(by, peer).await? {
            return Err(recipient_unavailable());
        }
        Ok(())
    }

    async fn moderates(&self, user: UserId, summary: &Summary) -> Result<bool> {
        if summary.kind == Kind::Direct {
            return Ok(false);
        }
        let place = self.repositories.store.members().find(summary.id, user).await?;
        Ok(place.is_some_and(|place| Role::manages(place.role)))
    }
}
