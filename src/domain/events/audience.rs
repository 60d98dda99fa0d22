//! Events with their audience, as transactions write them.

use super::Event;
use crate::domain::ids::{ConversationId, UserId};

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
pub struct AddressedEvent {
    /// What.
    pub event: Event,
    /// To whom.
    pub audience: Audience,
}

impl AddressedEvent {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_is_told_of_the_other() {
        let (one, other) = (UserId::random(), UserId::random());
        let told = AddressedEvent::between(one, other, |user| Event::FriendRemoved { user });
        let [first, second] = told.map(|it| (it.audience.users, it.event));
        assert_eq!(first, (vec![one], Event::FriendRemoved { user: other }));
        assert_eq!(second, (vec![other], Event::FriendRemoved { user: one }));
    }
}
