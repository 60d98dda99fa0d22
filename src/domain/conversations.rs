//! Conversations and who is in them.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::{ConversationId, UserId};

/// What sort of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Between two users, or of one with themselves.
    Direct,
    /// Of a group.
    Group,
}

/// What a member of a group may do. In a direct conversation everyone is a plain member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    pub own_total: u64,
    /// How many of those are up to [`read_seq`](Self::read_seq).
    pub own_at_read: u64,
    /// The last message whose notification they marked as read.
    pub noticed_seq: u64,
    /// Raises no notifications before this moment.
    pub muted_until: Option<Timestamp>,
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
