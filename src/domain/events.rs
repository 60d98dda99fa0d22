//! Events: everything that real time tells clients. One table holds what is known of each kind.

mod audience;
mod envelope;
mod position;

use serde::{Deserialize, Serialize};

pub use self::audience::{AddressedEvent, Audience};
pub use self::envelope::{Envelope, Frame, FrameKind};
pub use self::position::Position;
use super::clock::Timestamp;
use super::ids::{ConversationId, GroupId, MessageId, UserId};
use super::notifications::NotificationId;

/// The users who may see an event, among those that it is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudienceKind {
    /// The addressed user.
    Reader,
    /// The members of the conversation, as long as they are members.
    Members,
    /// The members who had joined before the message was sent.
    EarlierMembers,
    /// The members; in a large conversation only the subject, whose mark moved.
    MarkReaders,
    /// The members, and the subject after leaving.
    MembersAndSubject,
    /// The members, also after the conversation ended.
    FormerMembers,
    /// The subject and their friends.
    SubjectAndFriends,
}

/// Makes [`Event`] and [`EventKind`] of the table of events. A row has, in this order: the variant
/// with its fields; the type of the frame; its description for clients; the conversation that the
/// event belongs to; the user that it is about; who may see it; whether a block between two users
/// stops it on its way (`stops`) or not (`passes`); whether it changes who is a member (`moves`)
/// or not (`stays`).
macro_rules! events {
    ($(
        $variant:ident { $($field:ident: $type:ty),+ }
            = $name:tt, $description:tt,
            in $conversation:expr, about $subject:expr,
            to $audience:ident, block $block:ident, membership $membership:ident;
    )+) => {
        /// An event, as the log keeps it: ids only. The state is read when a frame is made, so the
        /// frame shows nothing that its reader may no longer see.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        #[expect(missing_docs, reason = "the types of the fields say what they are")]
        pub enum Event {
            $(
                #[doc = $description]
                #[serde(rename = $name)]
                $variant { $($field: $type),+ },
            )+
        }

        /// The kind of an event: a row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind {
            $(#[doc = $description] $variant,)+
        }

        impl EventKind {
            /// Every kind, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The type of the frame, as clients know it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The kind with this name.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// The description for clients.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description),+ }
            }

            /// The users who may see an event of this kind.
            pub fn audience(self) -> AudienceKind {
                match self { $(Self::$variant => AudienceKind::$audience),+ }
            }

            /// Whether a block between the two members of a direct conversation stops the event on
            /// its way.
            pub fn stops_at_block(self) -> bool {
                match self { $(Self::$variant => events!(@block $block)),+ }
            }

            /// Whether the conversation has other members after the event.
            pub fn changes_members(self) -> bool {
                match self { $(Self::$variant => events!(@membership $membership)),+ }
            }
        }

        impl Event {
            /// The kind of the event.
            #[must_use]
            pub fn kind(&self) -> EventKind {
                match self { $(Self::$variant { .. } => EventKind::$variant),+ }
            }

            /// The conversation that the event belongs to.
            #[must_use]
            #[expect(unused_variables, reason = "a row names all fields of its event")]
            pub fn conversation(&self) -> Option<ConversationId> {
                match self { $(Self::$variant { $($field),+ } => $conversation),+ }
            }

            /// The user that the event is about.
            #[must_use]
            #[expect(unused_variables, reason = "a row names all fields of its event")]
            pub fn subject(&self) -> Option<UserId> {
                match self { $(Self::$variant { $($field),+ } => $subject),+ }
            }
        }
    };
    (@block stops) => { true };
    (@block passes) => { false };
    (@membership moves) => { true };
    (@membership stays) => { false };
}

events! {
    MessageCreated { message: MessageId }
        = "message.created", "A message was sent.",
        in Some(message.conversation), about None,
        to EarlierMembers, block stops, membership stays;
    MessageUpdated { message: MessageId }
        = "message.updated", "It was edited, pinned or unpinned.",
        in Some(message.conversation), about None,
        to Members, block stops, membership stays;
    MessageDeleted { message: MessageId, at: Timestamp }
        = "message.deleted", "It was deleted.",
        in Some(message.conversation), about None,
        to Members, block passes, membership stays;
    ReactionAdded { message: MessageId, user: UserId, emoji: String, count: u64 }
        = "reaction.added", "A member reacted.",
        in Some(message.conversation), about Some(*user),
        to Members, block stops, membership stays;
    ReactionRemoved { message: MessageId, user: UserId, emoji: String, count: u64 }
        = "reaction.removed", "A member took that back.",
        in Some(message.conversation), about Some(*user),
        to Members, block passes, membership stays;
    Read { conversation: ConversationId, user: UserId, seq: u64 }
        = "conversation.read", "A member has read up to here.",
        in Some(*conversation), about Some(*user),
        to MarkReaders, block passes, membership stays;
    Delivered { conversation: ConversationId, user: UserId, seq: u64 }
        = "conversation.delivered", "What was sent up to here has come to a member's devices.",
        in Some(*conversation), about Some(*user),
        to MarkReaders, block passes, membership stays;
    Muted { conversation: ConversationId, until: Option<Timestamp> }
        = "conversation.muted", "One has muted it, or ended that; to one's own devices.",
        in Some(*conversation), about None,
        to Members, block passes, membership stays;
    FriendRequested { user: UserId }
        = "friend.requested", "They ask to be friends.",
        in None, about Some(*user),
        to Reader, block passes, membership stays;
    FriendAccepted { user: UserId }
        = "friend.accepted", "One is friends with them now.",
        in None, about Some(*user),
        to Reader, block passes, membership stays;
    FriendRemoved { user: UserId }
        = "friend.removed", "The friendship or request with them is over.",
        in None, about Some(*user),
        to Reader, block passes, membership stays;
    GroupCreated { group: GroupId }
        = "group.created", "A group was made.",
        in Some((*group).into()), about None,
        to Members, block passes, membership stays;
    GroupUpdated { group: GroupId }
        = "group.updated", "Its name, picture or owner changed.",
        in Some((*group).into()), about None,
        to Members, block passes, membership stays;
    GroupDeleted { group: GroupId }
        = "group.deleted", "It has ended.",
        in Some((*group).into()), about None,
        to FormerMembers, block passes, membership moves;
    MemberAdded { group: GroupId, user: UserId }
        = "group.member_added", "Someone is in it now.",
        in Some((*group).into()), about Some(*user),
        to Members, block passes, membership moves;
    MemberUpdated { group: GroupId, user: UserId }
        = "group.member_updated", "A member has another role.",
        in Some((*group).into()), about Some(*user),
        to Members, block passes, membership stays;
    MemberRemoved { group: GroupId, user: UserId }
        = "group.member_removed", "Someone is in it no more; also to them.",
        in Some((*group).into()), about Some(*user),
        to MembersAndSubject, block passes, membership moves;
    NotificationCreated { notification: NotificationId }
        = "notification.created", "One is told of something; never of type `message`.",
        in None, about None,
        to Reader, block passes, membership stays;
    NotificationRead { ids: Vec<NotificationId>, all: bool }
        = "notification.read", "One has marked notifications as read; to one's own devices.",
        in None, about None,
        to Reader, block passes, membership stays;
    ProfileUpdated { user: UserId }
        = "profile.updated", "One has, or a friend has, another name or picture.",
        in None, about Some(*user),
        to SubjectAndFriends, block passes, membership stays;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_kept_under_its_name() {
        let user = UserId::random();
        let conversation = ConversationId::direct(user, user);
        let message = MessageId::new(conversation, 1);
        let event = Event::ReactionAdded { message, user, emoji: "👍".to_owned(), count: 1 };
        for event in [event, Event::Read { conversation, user, seq: 1 }] {
            let kept = serde_json::to_value(&event).expect("JSON");
            assert_eq!(kept["type"], event.kind().name());
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::named(kind.name()), Some(*kind));
        }
    }
}
