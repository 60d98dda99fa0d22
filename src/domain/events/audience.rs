//! Events with their audience, as transactions write them.

use super::Event;
use crate::domain::ids::{ConversationId, UserId};

/// The users who receive an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// The members of this conversation.
    pub members: Option<ConversationId>,
    /// These users, members or not.
    pub users: Vec<UserId>,
    /// The friends of this user when the relay reads the event.
    pub friends_of: Option<UserId>,
}

impl Audience {
    /// The members of a conversation.
    #[must_use]
    pub fn members(conversation: impl Into<ConversationId>) -> Self {
        Self { members: Some(conversation.into()), ..Self::default() }
    }

    /// These users.
    #[must_use]
    pub fn users(users: impl Into<Vec<UserId>>) -> Self {
        Self { users: users.into(), ..Self::default() }
    }

    /// A user and their friends.
    #[must_use]
    pub fn with_friends(user: UserId) -> Self {
        Self { users: vec![user], friends_of: Some(user), ..Self::default() }
    }

    /// The same with one more user.
    #[must_use]
    pub fn and(mut self, user: UserId) -> Self {
        self.users.push(user);
        self
    }
}

/// An event with its audience, written in the transaction of its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressedEvent {
    /// The event.
    pub event: Event,
    /// The audience.
    pub audience: Audience,
}

impl AddressedEvent {
    /// An event for the members of a conversation.
    #[must_use]
    pub fn among(conversation: impl Into<ConversationId>, event: Event) -> Self {
        Self { event, audience: Audience::members(conversation) }
    }

    /// An event for these users.
    #[must_use]
    pub fn for_users(users: impl Into<Vec<UserId>>, event: Event) -> Self {
        Self { event, audience: Audience::users(users) }
    }

    /// An event between two users: each receives the event about the other, `one` first.
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
