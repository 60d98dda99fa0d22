//! What users are told of: requests, acceptances, additions, and messages that wait.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::conversations::Kind;
use super::ids::{ConversationId, GroupId, InvalidId, MessageId, UserId};

/// What it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NotificationType)]
pub enum NotificationKind {
    /// Unread messages of one conversation; derived from the read mark, never stored.
    Message,
    /// Someone asks to be friends.
    FriendRequest,
    /// Someone accepted the reader's request.
    FriendAccepted,
    /// Someone added the reader to a group.
    GroupAdded,
    /// Someone mentioned the reader in a message.
    Mention,
}

impl NotificationKind {
    /// Its byte in a [`NotificationId`]; kept for ever.
    fn code(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::FriendRequest => 2,
            Self::FriendAccepted => 3,
            Self::GroupAdded => 4,
            Self::Mention => 5,
        }
    }
}

/// Which notification: whose, of what kind, and about whom or what. The same event raised twice
/// has the same id, and so is one notification. As text, 44 characters of URL-safe Base64
/// (RFC 4648 §5) over its 33 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{44}$", example = "jR9qcCw7ToWx2W8KXH4rlAFBniGfJYmIY6DhDJvGlhOa")]
pub struct NotificationId([u8; 33]);

impl NotificationId {
    fn new(user: UserId, kind: NotificationKind, subject: [u8; 16]) -> Self {
        let mut bytes = [0; 33];
        bytes[..16].copy_from_slice(&user.bytes());
        bytes[16] = kind.code();
        bytes[17..].copy_from_slice(&subject);
        Self(bytes)
    }

    /// The one that tells `user` of unread messages in a conversation.
    #[must_use]
    pub fn message(user: UserId, conversation: ConversationId) -> Self {
        Self::new(user, NotificationKind::Message, conversation.bytes())
    }

    /// The one that tells `user` of a request by `from`.
    #[must_use]
    pub fn friend_request(user: UserId, from: UserId) -> Self {
        Self::new(user, NotificationKind::FriendRequest, from.bytes())
    }

    /// The one that tells `user` that `by` accepted.
    #[must_use]
    pub fn friend_accepted(user: UserId, by: UserId) -> Self {
        Self::new(user, NotificationKind::FriendAccepted, by.bytes())
    }

    /// The one that tells `user` of having been added to a group.
    #[must_use]
    pub fn group_added(user: UserId, group: GroupId) -> Self {
        Self::new(user, NotificationKind::GroupAdded, group.bytes())
    }

    /// The one that tells `user` of being mentioned in a message.
    #[must_use]
    pub fn mention(user: UserId, message: MessageId) -> Self {
        let digest = digest(&SHA256, &message.bytes());
        let mut subject = [0; 16];
        subject.copy_from_slice(&digest.as_ref()[..16]);
        Self::new(user, NotificationKind::Mention, subject)
    }

    /// Whose it is.
    #[must_use]
    pub fn user(self) -> UserId {
        UserId::from_bytes(self.half(0))
    }

    /// The conversation whose unread messages it tells of; `None` for the other kinds.
    #[must_use]
    pub fn conversation(self) -> Option<ConversationId> {
        (self.0[16] == NotificationKind::Message.code())
            .then(|| ConversationId::from_bytes(self.half(17)))
    }

    fn half(self, from: usize) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[from..from + 16]);
        half
    }

    /// The id of these bytes, as they are stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 33]) -> Self {
        Self(bytes)
    }

    /// The bytes that are stored.
    #[must_use]
    pub fn bytes(self) -> [u8; 33] {
        self.0
    }
}

impl FromStr for NotificationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidId)?;
        bytes.try_into().map(Self).map_err(|_| InvalidId)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotificationId({self})")
    }
}

impl Serialize for NotificationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NotificationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One stored notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Which one, and whose.
    pub id: NotificationId,
    /// What it tells of; never [`NotificationKind::Message`].
    pub kind: NotificationKind,
    /// Who did it.
    pub actor: UserId,
    /// The group it is about.
    pub group: Option<GroupId>,
    /// The message it is about.
    pub message: Option<MessageId>,
    /// Whether its reader has seen it.
    pub read: bool,
    /// When it happened.
    pub at: Timestamp,
}

impl Notification {
    /// Tells `user` that `from` asks to be friends.
    #[must_use]
    pub fn friend_request(user: UserId, from: UserId, at: Timestamp) -> Self {
        let (id, kind) =
            (NotificationId::friend_request(user, from), NotificationKind::FriendRequest);
        Self { id, kind, actor: from, group: None, message: None, read: false, at }
    }

    /// Tells `user` that `by` accepted.
    #[must_use]
    pub fn friend_accepted(user: UserId, by: UserId, at: Timestamp) -> Self {
        let (id, kind) =
            (NotificationId::friend_accepted(user, by), NotificationKind::FriendAccepted);
        Self { id, kind, actor: by, group: None, message: None, read: false, at }
    }

    /// Tells `user` that `by` added them to a group.
    #[must_use]
    pub fn group_added(user: UserId, by: UserId, group: GroupId, at: Timestamp) -> Self {
        let (id, kind) = (NotificationId::group_added(user, group), NotificationKind::GroupAdded);
        Self { id, kind, actor: by, group: Some(group), message: None, read: false, at }
    }

    /// Tells `user` that `by` mentions them in a message.
    #[must_use]
    pub fn mention(
        user: UserId,
        by: UserId,
        kind: Kind,
        message: MessageId,
        at: Timestamp,
    ) -> Self {
        let group = (kind == Kind::Group).then(|| message.conversation.as_group());
        let id = NotificationId::mention(user, message);
        let message = Some(message);
        Self { id, kind: NotificationKind::Mention, actor: by, group, message, read: false, at }
    }
}

/// A place in a user's notifications; the newest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotificationPosition {
    /// When the last one of the page happened.
    pub at: Timestamp,
    /// Which one that was.
    pub id: NotificationId,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_says_whose_and_about_what() {
        let (ada, grace) = (UserId::random(), UserId::random());
        let conversation = ConversationId::direct(ada, grace);
        let id = NotificationId::message(ada, conversation);
        assert_eq!((id.user(), id.conversation()), (ada, Some(conversation)));
        let request = NotificationId::friend_request(ada, grace);
        assert_eq!((request.user(), request.conversation()), (ada, None));
        assert_ne!(request, NotificationId::friend_accepted(ada, grace));
    }

    proptest! {
        #[test]
        fn ids_keep_through_text(bytes: [u8; 32], last: u8) {
            let mut whole = [last; 33];
            whole[..32].copy_from_slice(&bytes);
            let id = NotificationId::from_bytes(whole);
            prop_assert_eq!(id.to_string().len(), 44);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn no_other_text_is_an_id(text in "\\PC{0,50}") {
            if let Ok(id) = text.parse::<NotificationId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
