//! Messages: as they are sent, as they are kept, as clients see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attachments::Attachment;
use super::clock::Timestamp;
use super::conversations::{Kind, Target};
use super::ids::{AttachmentId, ConversationId, GroupId, MessageId, UserId};
use crate::error::{Error, FieldError};

/// What makes a send happen once: the sender's own name for it, and what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactlyOnce {
    /// `client_message_id`.
    pub client_message_id: String,
    /// SHA-256 over what the message says and where; equal for a repeat, whatever its spelling.
    pub fingerprint: [u8; 32],
}

/// An idempotency key: a sender's name for a message of one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Where the message goes.
    pub conversation: ConversationId,
    /// The sender.
    pub sender: UserId,
    /// `client_message_id`.
    pub client_message_id: String,
}

/// The message that an idempotency key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// Which message.
    pub message: MessageId,
    /// The fingerprint of the request that sent it, as in [`ExactlyOnce`].
    pub fingerprint: [u8; 32],
    /// From this moment on the key is free again.
    pub expires_at: Timestamp,
}

/// A message that is allowed, on its way to be stored.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The sender.
    pub sender: UserId,
    /// Where to.
    pub target: Target,
    /// What it says.
    pub text: String,
    /// Files, in the sender's order.
    pub attachments: Vec<Attachment>,
    /// The number of the message that it answers.
    pub reply_to: Option<u64>,
    /// Members whom it mentions, each once.
    pub mentions: Vec<UserId>,
    /// Those of them who are told.
    pub told: Vec<UserId>,
    /// Its name for the sender's retries.
    pub once: Option<ExactlyOnce>,
    /// When the server took it.
    pub at: Timestamp,
    /// Random, to recognise the stored message as this one after an unclear outcome.
    pub token: [u8; 16],
}

impl Draft {
    /// The conversation that it belongs to.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.target.conversation(self.sender)
    }

    /// Its idempotency key; `None` where the sender gave it no name.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<IdempotencyKey> {
        let client_message_id = self.once.as_ref()?.client_message_id.clone();
        let (conversation, sender) = (self.conversation(), self.sender);
        Some(IdempotencyKey { conversation, sender, client_message_id })
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = AttachmentId> {
        self.attachments.iter().map(|file| file.id)
    }
}

/// Files that a message names cannot be sent by its sender: the fields that name them.
#[must_use]
pub fn unknown_attachments(fields: impl IntoIterator<Item = String>) -> Error {
    let unknown = |field| FieldError::new(field, "unknown", "must be a file that you uploaded");
    Error::fields(fields.into_iter().map(unknown).collect())
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its place.
    pub id: MessageId,
    /// Who sent it.
    pub sender: UserId,
    /// What it says.
    pub text: String,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// The number of the message that it answers.
    pub reply_to: Option<u64>,
    /// Members whom it mentions.
    pub mentions: Vec<UserId>,
    /// Its reactions, in the order in which they first came.
    pub reactions: Vec<ReactionCount>,
    /// The sender's name for it.
    pub client_message_id: Option<String>,
    /// When the server took it.
    pub at: Timestamp,
    /// When its text last changed.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted; nothing but its place is left then.
    pub deleted_at: Option<Timestamp>,
}

/// A new message that has its number and is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedMessage {
    /// The message.
    pub message: StoredMessage,
    /// Its number among its sender's messages in this conversation.
    pub nth: u64,
    /// The token of its draft.
    pub token: [u8; 16],
}

/// How many members reacted to a message with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionCount {
    /// The emoji, as it was first given.
    pub emoji: String,
    /// How many; at least 1.
    pub count: u64,
}

/// What came of a draft.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// Stored now.
    New(StoredMessage),
    /// Stored before, by the first request of this name.
    Before(MessageId),
}

/// How far a message has come: the least that all other members have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MessageStatus)]
pub enum Status {
    /// Stored.
    Sent,
    /// On everyone's devices.
    Delivered,
    /// Read by everyone; also where there is nobody else.
    Read,
}

/// How far the others in a conversation are, for the status of its messages. Whoever joined later
/// than a message has marks past it, and so does not hold it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerReceipts {
    /// The two lowest read marks, with whose they are; fewer where there are fewer members.
    pub read: [Option<(UserId, u64)>; 2],
    /// The two lowest delivered marks.
    pub delivered: [Option<(UserId, u64)>; 2],
}

impl PeerReceipts {
    /// The status of message `seq` of `sender`.
    #[must_use]
    pub fn status(&self, sender: UserId, seq: u64) -> Status {
        let reached = |marks: &[Option<(UserId, u64)>; 2]| {
            marks
                .iter()
                .flatten()
                .find(|(user, _)| *user != sender)
                .is_none_or(|(_, at)| *at >= seq)
        };
        if reached(&self.read) {
            Status::Read
        } else if reached(&self.delivered) {
            Status::Delivered
        } else {
            Status::Sent
        }
    }
}

/// What came of a change to a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The message after it.
    pub message: StoredMessage,
    /// Whether anything is different.
    pub changed: bool,
}

/// A message that is deleted takes nothing new.
#[must_use]
pub fn message_deleted() -> Error {
    Error::conflict("message_deleted", "message was deleted")
}

/// What members did to a message with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaction {
    /// One emoji.
    #[schema(example = "👍")]
    pub emoji: String,
    /// How many members reacted with it.
    #[schema(example = 2)]
    pub count: u64,
    /// Whether the reader did.
    pub reacted: bool,
}

/// A message as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({"recipient_user_id": "8d1f6a70-2c3b-4e85-b1d9-6f0a5c7e2b94", "client_message_id": "a3f1-42"}))]
pub struct Message {
    /// Opaque and stable.
    pub id: MessageId,
    /// Where it was sent.
    pub conversation_id: ConversationId,
    /// What sort of conversation that is.
    pub conversation_type: Kind,
    /// Its number there: 1, 2, 3 … without a gap.
    #[schema(example = 7)]
    pub seq: u64,
    /// Who sent it.
    pub sender_id: UserId,
    /// Whom to, in a direct conversation.
    pub recipient_user_id: Option<UserId>,
    /// Which group, in a group's conversation.
    pub group_id: Option<GroupId>,
    /// Its text, byte for byte.
    #[schema(example = "Hello, Grace!")]
    pub message: String,
    /// Its files.
    #[schema(example = json!([]))]
    pub attachments: Vec<Attachment>,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// Members whom it mentions.
    #[schema(example = json!([]))]
    pub mentions: Vec<UserId>,
    /// What others did to it.
    pub reactions: Vec<Reaction>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// How far it has come.
    pub status: Status,
    /// The sender's own name for it.
    #[schema(example = "a3f1-42")]
    pub client_message_id: Option<String>,
    /// When the server took it.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_the_least_that_all_others_have_reached() {
        let [ada, bob] = [UserId::random(), UserId::random()];
        let marks = PeerReceipts {
            read: [Some((bob, 3)), Some((ada, 9))],
            delivered: [Some((bob, 5)), Some((ada, 9))],
        };
        let of_ada: Vec<Status> = [3, 5, 6].map(|seq| marks.status(ada, seq)).to_vec();
        assert_eq!(of_ada, [Status::Read, Status::Delivered, Status::Sent]);
        assert_eq!(marks.status(bob, 9), Status::Read);
        assert_eq!(marks.status(bob, 10), Status::Sent);
        let alone =
            PeerReceipts { read: [Some((ada, 0)), None], delivered: [Some((ada, 0)), None] };
        assert_eq!(alone.status(ada, 1), Status::Read);
    }
}
