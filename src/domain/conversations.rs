//! Conversations and who is in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::ids::{ConversationId, GroupId, UserId};

/// What sort of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConversationType)]
pub enum Kind {
    /// Between two users, or of one with themselves.
    Direct,
    /// Of a group.
    Group,
}

/// Where a message goes. What it names decides the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To one user, oneself included.
    User(UserId),
    /// To everyone in a group.
    Group(GroupId),
}

impl Target {
    /// The conversation that a message of `sender` to this target belongs to.
    #[must_use]
    pub fn conversation(self, sender: UserId) -> ConversationId {
        match self {
            Self::User(peer) => ConversationId::direct(sender, peer),
            Self::Group(group) => group.into(),
        }
    }
}

/// What a member of a group may do. In a direct conversation everyone is a plain member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything; each group has exactly one.
    Owner,
    /// Change the group, add anyone, remove plain members.
    Admin,
    /// Read and write.
    Member,
}

impl Role {
    /// Whether this role changes the group's name and picture and adds members.
    #[must_use]
    pub fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// Whether this role may remove, from the same group, someone of role `other`.
    #[must_use]
    pub fn removes(self, other: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => other == Self::Member,
            Self::Member => false,
        }
    }
}

/// One user's place in one conversation. Marks are message numbers; a member has the messages up
/// to and including the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// What sort of conversation it is.
    pub kind: Kind,
    /// What they may do there.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
    /// The last message that was there before they joined; 0 from the start. A message's status
    /// counts only who had joined by then.
    pub joined_seq: u64,
    /// Read up to here; at least [`joined_seq`](Self::joined_seq).
    pub read_seq: u64,
    /// Delivered up to here; at least [`read_seq`](Self::read_seq).
    pub delivered_seq: u64,
    /// How many messages of this conversation they have ever sent.
    pub sent_count: u64,
    /// How many of those are up to [`read_seq`](Self::read_seq).
    pub sent_at_read: u64,
    /// The last message whose notification they dismissed.
    pub dismissed_seq: u64,
    /// Raises no notifications before this moment.
    pub muted_until: Option<Timestamp>,
    /// Of a direct conversation, the last message that waits, and when it was sent.
    pub waiting: Option<(u64, Timestamp)>,
}

impl Membership {
    /// A place in a conversation that is empty yet.
    #[must_use]
    pub fn from_start(
        conversation: ConversationId,
        user: UserId,
        kind: Kind,
        role: Role,
        joined_at: Timestamp,
    ) -> Self {
        Self {
            conversation,
            user,
            kind,
            role,
            joined_at,
            joined_seq: 0,
            read_seq: 0,
            delivered_seq: 0,
            sent_count: 0,
            sent_at_read: 0,
            dismissed_seq: 0,
            muted_until: None,
            waiting: None,
        }
    }
}

/// A member whose marks are among the lowest of a conversation, as the others see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowMark {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub user: UserId,
    /// The read mark, if it is among the lowest.
    pub read: Option<u64>,
    /// The delivered mark, if it is among the lowest.
    pub delivered: Option<u64>,
}

/// How far one member is, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The member.
    pub user: UserId,
    /// Read up to here.
    pub read_seq: u64,
    /// When that mark last moved; `None` where it has not since they joined.
    pub read_at: Option<Timestamp>,
    /// Delivered up to here.
    pub delivered_seq: u64,
    /// When that mark last moved.
    pub delivered_at: Option<Timestamp>,
}

/// A message, as far as a summary remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastMessage {
    /// Its number.
    pub seq: u64,
    /// Who sent it.
    pub sender: UserId,
    /// When.
    pub at: Timestamp,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A place in an inbox; the latest activity is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InboxPosition {
    /// When the last one of the page was last active.
    pub at: Timestamp,
    /// Which one that was.
    pub id: ConversationId,
}

/// A conversation, as the inbox and the history need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: ConversationId,
    /// What sort of conversation it is.
    pub kind: Kind,
    /// Of a direct one, its two users; one, where someone writes to themselves. Empty for groups.
    pub members: Vec<UserId>,
    /// The number of its last message; 0 before the first.
    pub last_seq: u64,
    /// When that was sent; before the first, when the conversation began.
    pub last_at: Timestamp,
    /// Counts every change to a message that is there already.
    pub revision: u64,
    /// The greatest number of a deleted message; 0 where none is.
    pub deleted_seq: u64,
    /// The numbers of its pinned messages, in the order in which they were pinned.
    pub pins: Vec<u64>,
    /// Its last message.
    pub last: Option<LastMessage>,
    /// The last message of anyone but the sender of [`last`](Self::last).
    pub other: Option<LastMessage>,
    /// When it began.
    pub created_at: Timestamp,
}

impl Summary {
    /// What of a summary is known from where a message goes.
    #[must_use]
    pub fn of_target(sender: UserId, target: Target) -> Self {
        let (kind, members) = match target {
            Target::User(peer) => (Kind::Direct, vec![sender, peer]),
            Target::Group(_) => (Kind::Group, Vec::new()),
        };
        Self {
            id: target.conversation(sender),
            kind,
            members,
            last_seq: 0,
            last_at: Timestamp::from_millis(0),
            revision: 0,
            deleted_seq: 0,
            pins: Vec::new(),
            last: None,
            other: None,
            created_at: Timestamp::from_millis(0),
        }
    }

    /// Of a direct conversation, the user at the other end; oneself, where one writes to oneself.
    #[must_use]
    pub fn peer_of(&self, user: UserId) -> Option<UserId> {
        match self.kind {
            Kind::Group => None,
            Kind::Direct => {
                let other = self.members.iter().find(|member| **member != user);
                Some(other.copied().unwrap_or(user))
            }
        }
    }

    /// The last message that someone other than `reader` sent.
    #[must_use]
    pub fn last_for(&self, reader: UserId) -> Option<LastMessage> {
        self.last.filter(|last| last.sender != reader).or(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_removes_anyone_and_admins_remove_members() {
        use Role::{Admin, Member, Owner};
        let may = [(Owner, Owner), (Owner, Admin), (Owner, Member), (Admin, Member)];
        for one in [Owner, Admin, Member] {
            for other in [Owner, Admin, Member] {
                assert_eq!(one.removes(other), may.contains(&(one, other)), "{one:?} {other:?}");
            }
        }
        assert_eq!([Owner, Admin, Member].map(Role::manages), [true, true, false]);
    }
}
