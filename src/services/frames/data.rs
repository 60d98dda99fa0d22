//! What frames say, by their type.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, GroupId, MessageId, SessionId, UserId};
use crate::domain::messages::Message;
use crate::domain::notifications::NotificationId;
use crate::domain::users::PublicUser;
use crate::services::groups::{GroupMember, GroupOverview};
use crate::services::notifications::Item;

/// What a frame of the log says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// `message.created`, `message.updated`.
    Message(Box<Message>),
    /// `message.deleted`.
    Deleted(MessageDeleted),
    /// `reaction.added`, `reaction.removed`.
    Reaction(ReactionChange),
    /// `conversation.read`, `conversation.delivered`.
    Mark(Mark),
    /// `conversation.muted`.
    Muted(Muted),
    /// `friend.requested`, `friend.accepted`, `friend.removed`.
    Friend(FriendChange),
    /// `group.created`, `group.updated`.
    Group(Box<GroupOverview>),
    /// `group.deleted`.
    GroupDeleted(GroupDeleted),
    /// `group.member_added`, `group.member_updated`.
    Member(Box<MemberChange>),
    /// `group.member_removed`.
    MemberRemoved(MemberRemoved),
    /// `notification.created`.
    Notification(Box<Item>),
    /// `notification.read`.
    NotificationRead(NotificationRead),
    /// `profile.updated`.
    Profile(ProfileChange),
}

impl Data {
    /// The conversation that a notification is about.
    pub fn notified_of(&self) -> Option<ConversationId> {
        if let Self::Notification(item) = self { item.conversation_id } else { None }
    }
}

/// One has marked notifications as read, on any of one's devices.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationRead {
    /// Which: those of the request that were unread; none where it was all.
    pub ids: Vec<NotificationId>,
    /// Whether it was all that there were.
    pub all: bool,
    /// How many notifications are unread now.
    #[schema(example = 0)]
    pub unread_count: u64,
}

/// Someone has another name or picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProfileChange {
    /// Who, as they now are.
    pub user: PublicUser,
}

/// A message was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageDeleted {
    /// Where.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// Its number.
    pub seq: u64,
    /// When.
    pub deleted_at: Timestamp,
}

/// A member reacted to a message, or took that back.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReactionChange {
    /// Where.
    pub conversation_id: ConversationId,
    /// To which.
    pub message_id: MessageId,
    /// Who.
    pub user_id: UserId,
    /// With what.
    #[schema(example = "👍")]
    pub emoji: String,
    /// How many now do so with this emoji.
    pub count: u64,
}

/// How far a member is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mark {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
    /// Up to and including this message.
    pub seq: u64,
}

/// One has muted a conversation, or ended that, on any of one's devices.
#[derive(Debug, Serialize, ToSchema)]
pub struct Muted {
    /// Which.
    pub conversation_id: ConversationId,
    /// Until when; null where it is not muted.
    pub muted_until: Option<Timestamp>,
}

/// How one stands with someone.
#[derive(Debug, Serialize, ToSchema)]
pub struct FriendChange {
    /// The other one.
    pub user: PublicUser,
}

/// A group has ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupDeleted {
    /// Which.
    pub group_id: GroupId,
}

/// Someone is in a group, in this role.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberChange {
    /// Which group.
    pub group_id: GroupId,
    /// Who, and in what role.
    pub member: GroupMember,
}

/// Someone is no longer in a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberRemoved {
    /// Which group.
    pub group_id: GroupId,
    /// Who.
    pub user_id: UserId,
}

/// Someone is typing, for the next six seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Typing {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
}

/// Whether a friend is connected.
#[derive(Debug, Serialize, ToSchema)]
pub struct Presence {
    /// Who.
    pub user_id: UserId,
    /// Whether any of their devices is connected.
    pub online: bool,
    /// When the last of them went; null while one is there, and where none ever was.
    pub last_seen_at: Option<Timestamp>,
}

/// The first frame.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whose connection it is.
    pub user_id: UserId,
    /// Of which session.
    pub session_id: SessionId,
    /// The id to come back with, as long as no event has come.
    #[schema(max_length = 128, example = "6922a1f00000000100000001")]
    pub last_event_id: String,
    /// Something comes at least this often, if only a ping.
    #[schema(example = 25)]
    pub heartbeat_seconds: u64,
    /// Whether all that was missed follows; null where `since` was not given.
    pub recovered: Option<bool>,
}

/// The session of this connection has ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionEnded {
    /// Which.
    pub session_id: SessionId,
}
