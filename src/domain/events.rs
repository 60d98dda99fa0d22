//! What happened, for everyone whom it concerns: the events of real time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Timestamp;
use super::ids::{ConversationId, GroupId, InvalidId, MessageId, UserId};
use super::notifications::NotificationId;

/// What happened, as it is kept: what it is about, never what that says. Whoever reads it later
/// is shown the thing as it then stands, and nothing that they may no longer see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[expect(missing_docs, reason = "the fields are what their types say")]
pub enum Event {
    /// A message was sent.
    #[serde(rename = "message.created")]
    MessageCreated { message: MessageId },
    /// Its text was edited, or it was pinned or unpinned.
    #[serde(rename = "message.updated")]
    MessageUpdated { message: MessageId },
    /// It was deleted.
    #[serde(rename = "message.deleted")]
    MessageDeleted { message: MessageId, at: Timestamp },
    /// A member reacted; so many now did with this emoji.
    #[serde(rename = "reaction.added")]
    ReactionAdded { message: MessageId, user: UserId, emoji: String, count: u64 },
    /// A member took a reaction back; so many are left.
    #[serde(rename = "reaction.removed")]
    ReactionRemoved { message: MessageId, user: UserId, emoji: String, count: u64 },
    /// A member has read up to a message.
    #[serde(rename = "conversation.read")]
    Read { conversation: ConversationId, user: UserId, seq: u64 },
    /// What was sent up to a message has come to a member's devices.
    #[serde(rename = "conversation.delivered")]
    Delivered { conversation: ConversationId, user: UserId, seq: u64 },
    /// Someone muted a conversation for themselves, or ended that.
    #[serde(rename = "conversation.muted")]
    Muted { conversation: ConversationId, until: Option<Timestamp> },
    /// `user` asks the reader to be friends.
    #[serde(rename = "friend.requested")]
    FriendRequested { user: UserId },
    /// The reader and `user` are friends now.
    #[serde(rename = "friend.accepted")]
    FriendAccepted { user: UserId },
    /// The friendship or request between the reader and `user` is over.
    #[serde(rename = "friend.removed")]
    FriendRemoved { user: UserId },
    /// A group was made.
    #[serde(rename = "group.created")]
    GroupCreated { group: GroupId },
    /// Its name, picture or owner changed.
    #[serde(rename = "group.updated")]
    GroupUpdated { group: GroupId },
    /// It has ended.
    #[serde(rename = "group.deleted")]
    GroupDeleted { group: GroupId },
    /// Someone is in it now.
    #[serde(rename = "group.member_added")]
    MemberAdded { group: GroupId, user: UserId },
    /// A member has another role.
    #[serde(rename = "group.member_updated")]
    MemberUpdated { group: GroupId, user: UserId },
    /// Someone is not in it any more.
    #[serde(rename = "group.member_removed")]
    MemberRemoved { group: GroupId, user: UserId },
    /// The reader is told of something.
    #[serde(rename = "notification.created")]
    NotificationCreated { notification: NotificationId },
    /// The reader marked these notifications as read, or all that there were.
    #[serde(rename = "notification.read")]
    NotificationRead { ids: Vec<NotificationId>, all: bool },
    /// `user`, the reader or a friend, has another name or picture.
    #[serde(rename = "profile.updated")]
    ProfileUpdated { user: UserId },
}

impl Event {
    /// Its type, as clients know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageCreated { .. } => "message.created",
            Self::MessageUpdated { .. } => "message.updated",
            Self::MessageDeleted { .. } => "message.deleted",
            Self::ReactionAdded { .. } => "reaction.added",
            Self::ReactionRemoved { .. } => "reaction.removed",
            Self::Read { .. } => "conversation.read",
            Self::Delivered { .. } => "conversation.delivered",
            Self::Muted { .. } => "conversation.muted",
            Self::FriendRequested { .. } => "friend.requested",
            Self::FriendAccepted { .. } => "friend.accepted",
            Self::FriendRemoved { .. } => "friend.removed",
            Self::GroupCreated { .. } => "group.created",
            Self::GroupUpdated { .. } => "group.updated",
            Self::GroupDeleted { .. } => "group.deleted",
            Self::MemberAdded { .. } => "group.member_added",
            Self::MemberUpdated { .. } => "group.member_updated",
            Self::MemberRemoved { .. } => "group.member_removed",
            Self::NotificationCreated { .. } => "notification.created",
            Self::NotificationRead { .. } => "notification.read",
            Self::ProfileUpdated { .. } => "profile.updated",
        }
    }

    /// The conversation that it belongs to: who has left that sees it no more.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::MessageCreated { message }
            | Self::MessageUpdated { message }
            | Self::MessageDeleted { message, .. }
            | Self::ReactionAdded { message, .. }
            | Self::ReactionRemoved { message, .. } => Some(message.conversation),
            Self::Read { conversation, .. }
            | Self::Delivered { conversation, .. }
            | Self::Muted { conversation, .. } => Some(*conversation),
            Self::GroupCreated { group }
            | Self::GroupUpdated { group }
            | Self::GroupDeleted { group }
            | Self::MemberAdded { group, .. }
            | Self::MemberUpdated { group, .. }
            | Self::MemberRemoved { group, .. } => Some((*group).into()),
            Self::FriendRequested { .. }
            | Self::FriendAccepted { .. }
            | Self::FriendRemoved { .. }
            | Self::NotificationCreated { .. }
            | Self::NotificationRead { .. }
            | Self::ProfileUpdated { .. } => None,
        }
    }
}

/// Whom an event concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// Everyone who is in this conversation.
    pub members: Option<ConversationId>,
    /// These, members or not.
    pub users: Vec<UserId>,
    /// Everyone who is a friend of this one when it is told.
    pub friends_of: Option<UserId>,
}

impl Audience {
    /// Everyone who is in a conversation.
    #[must_use]
    pub fn members(conversation: impl Into<ConversationId>) -> Self {
        Self { members: Some(conversation.into()), ..Self::default() }
    }

    /// These people.
    #[must_use]
    pub fn users(users: impl Into<Vec<UserId>>) -> Self {
        Self { users: users.into(), ..Self::default() }
    }

    /// Someone and their friends.
    #[must_use]
    pub fn with_friends(user: UserId) -> Self {
        Self { users: vec![user], friends_of: Some(user), ..Self::default() }
    }

    /// The same, and one more.
    #[must_use]
    pub fn and(mut self, user: UserId) -> Self {
        self.users.push(user);
        self
    }
}

/// An event and whom it concerns, to be kept in the transaction that makes it happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub event: Event,
    /// To whom.
    pub audience: Audience,
}

impl Happening {
    /// Something that concerns everyone in a conversation.
    #[must_use]
    pub fn among(conversation: impl Into<ConversationId>, event: Event) -> Self {
        Self { event, audience: Audience::members(conversation) }
    }

    /// Something that concerns these people.
    #[must_use]
    pub fn for_users(users: impl Into<Vec<UserId>>, event: Event) -> Self {
        Self { event, audience: Audience::users(users) }
    }

    /// Something between two, as each of them is told of the other; the first is told first.
    #[must_use]
    pub fn between(one: UserId, other: UserId, of: impl Fn(UserId) -> Event) -> [Self; 2] {
        [Self::for_users([one], of(other)), Self::for_users([other], of(one))]
    }
}

/// Where an event stands among all events there are: the moment of its commit in the store's own
/// order, then its place among those of the same commit. It is the same wherever it is asked for,
/// so an event that is taken up twice is recognised, and one order holds for everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Seconds since the epoch, by the store's clock, then the ordinal of the commit within the
    /// second, as one number: seconds in the upper 32 bits.
    pub commit: u64,
    /// Its place among the events of that commit, from 1; 0 is before all of them.
    pub nth: u32,
}

impl Position {
    /// Just before the first event of a commit, or after the last of the one before.
    #[must_use]
    pub fn before(commit: u64) -> Self {
        Self { commit, nth: 0 }
    }

    /// The place right after it.
    #[must_use]
    pub fn next(self) -> Self {
        match self.nth.checked_add(1) {
            Some(nth) => Self { nth, ..self },
            None => Self::before(self.commit.saturating_add(1)),
        }
    }

    /// Seconds since the epoch of its commit.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.commit >> 32
    }
}

/// As text, 24 hexadecimal digits: what clients know as an event's id.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.commit, self.nth)
    }
}

impl FromStr for Position {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 24 || !text.bytes().all(is_ours) {
            return Err(InvalidId);
        }
        let commit = u64::from_str_radix(&text[..16], 16).map_err(|_| InvalidId)?;
        let nth = u32::from_str_radix(&text[16..], 16).map_err(|_| InvalidId)?;
        Ok(Self { commit, nth })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_of_two_is_told_of_the_other() {
        let (one, other) = (UserId::random(), UserId::random());
        let told = Happening::between(one, other, |user| Event::FriendRemoved { user });
        let [first, second] = told.map(|it| (it.audience.users, it.event));
        assert_eq!(first, (vec![one], Event::FriendRemoved { user: other }));
        assert_eq!(second, (vec![other], Event::FriendRemoved { user: one }));
    }

    #[test]
    fn an_event_is_kept_under_its_name() {
        let user = UserId::random();
        let conversation = ConversationId::direct(user, user);
        let message = MessageId::new(conversation, 1);
        let event = Event::ReactionAdded { message, user, emoji: "👍".to_owned(), count: 1 };
        for event in [event, Event::Read { conversation, user, seq: 1 }] {
            let kept = serde_json::to_value(&event).expect("JSON");
            assert_eq!(kept["type"], event.name());
        }
    }

    proptest! {
        #[test]
        fn ids_sort_as_positions_do(one: (u64, u32), other: (u64, u32)) {
            let position = |(commit, nth)| Position { commit, nth };
            let (one, other) = (position(one), position(other));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }

        #[test]
        fn no_other_text_is_an_id(text in "\\PC{0,40}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
