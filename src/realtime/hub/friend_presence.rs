//! Presence of friends and typing indicators, which no log keeps.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, UserConnections};
use crate::bus::Typing;
use crate::bus::presence::PresenceUpdate;
use crate::domain::events::{Envelope, Frame, FrameKind};
use crate::domain::ids::{ConversationId, UserId};
use crate::realtime::socket::Socket;

/// For how long a presence or typing frame may be in flight; its sender gives up sooner.
const IN_FLIGHT_FOR: Duration = Duration::from_secs(5);

/// The presence of friends, as the connections of one user know it.
#[derive(Debug, Default)]
pub(super) struct FriendPresence {
    /// Friends whose presence was delivered.
    friends: HashMap<UserId, Friend>,
    /// Users who stopped being friends lately: the hub drops their frames in flight.
    parted: HashMap<UserId, Instant>,
    /// Conversations that the user left lately: the hub drops their typing frames in flight.
    left: HashMap<ConversationId, Instant>,
}

#[derive(Debug)]
struct Friend {
    stamp: u64,
    /// The frame that says that the friend is online; `None` while offline.
    online: Option<Frame>,
}

impl FriendPresence {
    /// Records an update; whether it is new to the user. A friend without an update is offline.
    fn learn(&mut self, news: &PresenceUpdate) -> bool {
        let known = self.friends.get(&news.user);
        if known.is_some_and(|friend| friend.stamp >= news.stamp) {
            return false;
        }
        let was_online = known.is_some_and(|friend| friend.online.is_some());
        if !was_online && !news.online {
            return false;
        }
        let online = news.online.then(|| news.frame.clone());
        self.friends.insert(news.user, Friend { stamp: news.stamp, online });
        was_online != news.online
    }

    /// Drops typing frames of a conversation that the user left.
    pub fn leave(&mut self, conversation: ConversationId) {
        self.left.insert(conversation, Instant::now());
    }

    /// Drops the presence of another user.
    pub fn part(&mut self, other: UserId) {
        self.friends.remove(&other);
        self.parted.insert(other, Instant::now());
    }

    fn is_in(&mut self, conversation: ConversationId, now: Instant) -> bool {
        self.left.retain(|_, at| now.duration_since(*at) < IN_FLIGHT_FOR);
        !self.left.contains_key(&conversation)
    }

    fn hears(&mut self, user: UserId, now: Instant) -> bool {
        self.parted.retain(|_, at| now.duration_since(*at) < IN_FLIGHT_FOR);
        !self.parted.contains_key(&user)
    }

    /// Sends the friends who are online to a new connection.
    pub fn greet(&self, socket: &Socket) {
        for frame in self.friends.values().filter_map(|friend| friend.online.as_ref()) {
            socket.put(Envelope::unlogged(FrameKind::Presence, None, frame.clone()));
        }
    }
}

impl Hub {
    /// Delivers the presence of a friend, unless the user has the same or a newer state.
    pub(in crate::realtime) fn meet(&self, user: UserId, news: &PresenceUpdate) {
        let mut state = self.state();
        let Some(connections) = state.users.get_mut(&user) else { return };
        if connections.friends.hears(news.user, Instant::now()) && connections.friends.learn(news) {
            for socket in &connections.sockets {
                socket.put(Envelope::unlogged(FrameKind::Presence, None, news.frame.clone()));
            }
        }
    }

    /// Delivers a typing indicator, unless the user left the conversation.
    pub(in crate::realtime) fn typing(&self, user: UserId, typing: &Typing) {
        let mut state = self.state();
        let Some(UserConnections { friends, sockets, .. }) = state.users.get_mut(&user) else {
            return;
        };
        let now = Instant::now();
        if friends.is_in(typing.conversation, now) && friends.hears(typing.user, now) {
            let conversation = Some(typing.conversation);
            for socket in &*sockets {
                let frame = typing.frame.clone();
                socket.put(Envelope::unlogged(FrameKind::Typing, conversation, frame));
            }
        }
    }

    /// The two users stopped being friends: drops the presence of the other.
    pub(in crate::realtime) fn part(&self, user: UserId, other: UserId) {
        if let Some(connections) = self.state().users.get_mut(&user) {
            connections.friends.part(other);
        }
    }

    /// The two users became friends.
    pub(in crate::realtime) fn join(&self, user: UserId, other: UserId) {
        if let Some(connections) = self.state().users.get_mut(&user) {
            connections.friends.parted.remove(&other);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::events::Position;
    use crate::domain::ids::SessionId;
    use crate::realtime::socket::Next;

    fn news(user: UserId, stamp: u64, online: bool) -> PresenceUpdate {
        PresenceUpdate { user, stamp, online, frame: format!("{online}").into() }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (mut friends, friend) = (FriendPresence::default(), UserId::random());
        assert!(!friends.learn(&news(friend, 1, false)), "nobody thought otherwise");
        assert!(friends.learn(&news(friend, 2, true)));
        assert!(!friends.learn(&news(friend, 3, true)), "again");
        assert!(friends.learn(&news(friend, 5, false)));
        assert!(!friends.learn(&news(friend, 4, true)), "from before");
        assert!(friends.learn(&news(friend, 6, true)));
    }

    #[test]
    fn what_is_under_way_of_one_who_left_is_not_told() {
        let (mut friends, friend, now) =
            (FriendPresence::default(), UserId::random(), Instant::now());
        assert!(friends.hears(friend, now));
        friends.parted.insert(friend, now);
        assert!(!friends.hears(friend, now));
        assert!(friends.hears(friend, now + IN_FLIGHT_FOR));
    }

    #[tokio::test]
    async fn who_is_out_is_told_of_no_typing_that_was_under_way() {
        let (hub, _changes) = Hub::new(1);
        let (user, typist) = (UserId::random(), UserId::random());
        let socket = Socket::new(user, SessionId::random(), Timestamp::from_millis(0));
        let socket = Arc::new(socket);
        hub.expect(&socket).expect("connections");
        hub.assume(user, Position::default());
        assert!(hub.enter(&socket).is_some());
        let [left, stays] = [user, typist].map(|it| ConversationId::direct(it, typist));
        let typing = |conversation| Typing { conversation, user: typist, frame: "typing".into() };
        hub.typing(user, &typing(left));
        hub.revoke(user, left, Position::default());
        hub.typing(user, &typing(left));
        hub.typing(user, &typing(stays));
        let told = Envelope::unlogged(FrameKind::Typing, Some(stays), "typing".into());
        assert_eq!(socket.next().await, Next::Frames(vec![told]));
    }
}
