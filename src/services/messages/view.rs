//! Stored messages as clients see them.

use crate::domain::conversations::{Kind, Summary};
use crate::domain::ids::{MessageId, UserId};
use crate::domain::messages::{Message, Status, StoredMessage, Target};

/// Where messages are: what of a conversation each of its messages repeats.
pub(super) struct Place {
    kind: Kind,
    members: Vec<UserId>,
}

impl Place {
    pub fn of(summary: &Summary) -> Self {
        Self { kind: summary.kind, members: summary.members.clone() }
    }
}

/// Where a message of `sender` to this target is.
pub(super) fn place(sender: UserId, target: Target) -> Place {
    match target {
        Target::User(peer) => Place { kind: Kind::Direct, members: vec![sender, peer] },
        Target::Group(_) => Place { kind: Kind::Group, members: Vec::new() },
    }
}

/// A message there, that has come so far.
pub(super) fn shown(stored: &StoredMessage, place: &Place, status: Status) -> Message {
    let id = stored.id;
    let other = place.members.iter().find(|member| **member != stored.sender);
    let is_direct = place.kind == Kind::Direct;
    Message {
        id,
        conversation_id: id.conversation,
        conversation_type: place.kind,
        seq: id.seq,
        sender_id: stored.sender,
        recipient_user_id: is_direct.then(|| other.copied().unwrap_or(stored.sender)),
        group_id: (!is_direct).then(|| id.conversation.as_group()),
        message: stored.text.clone(),
        attachments: stored.attachments.clone(),
        reply_to: stored.reply_to.map(|seq| MessageId::new(id.conversation, seq)),
        mentions: Vec::new(),
        reactions: Vec::new(),
        pinned: false,
        status,
        client_message_id: stored.client_message_id.clone(),
        created_at: stored.at,
        edited_at: None,
        deleted_at: None,
    }
}
