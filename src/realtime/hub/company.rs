//! What one user is told of others beside the log: which friends are there, and who is typing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, Room};
use crate::bus::Typing;
use crate::bus::presence::News;
use crate::domain::events::{Envelope, Frame, FrameKind};
use crate::domain::ids::{ConversationId, UserId};
use crate::realtime::socket::Socket;

/// How long what was decided before may still be under way: deciding and telling are given up
/// sooner.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// What a user was told of others.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Friends of whom anything was told.
    friends: HashMap<UserId, Friend>,
    /// Who is a friend no more, lately: what is under way of them is not told.
    parted: HashMap<UserId, Instant>,
    /// Conversations that the user is out of, lately: the same of who is typing there.
    left: HashMap<ConversationId, Instant>,
}

#[derive(Debug)]
struct Friend {
    stamp: u64,
    /// What says that they are there; `None` where they are not.
    online: Option<Frame>,
}

impl Company {
    /// Whether this is new to the user. Who was never told of is taken not to be there.
    fn learn(&mut self, news: &News) -> bool {
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

    /// The user is out of a conversation.
    pub fn leave(&mut self, conversation: ConversationId) {
        self.left.insert(conversation, Instant::now());
    }

    /// Nothing more of how another is.
    pub fn part(&mut self, other: UserId) {
        self.friends.remove(&other);
        self.parted.insert(other, Instant::now());
    }

    fn is_in(&mut self, conversation: ConversationId, now: Instant) -> bool {
        self.left.retain(|_, at| now.duration_since(*at) < UNDER_WAY);
        !self.left.contains_key(&conversation)
    }

    fn hears(&mut self, user: UserId, now: Instant) -> bool {
        self.parted.retain(|_, at| now.duration_since(*at) < UNDER_WAY);
        !self.parted.contains_key(&user)
    }

    /// Tells a connection that has just come which friends are there, as the others were told.
    pub fn greet(&self, socket: &Socket) {
        for frame in self.friends.values().filter_map(|friend| friend.online.as_ref()) {
            socket.put(Envelope::unlogged(FrameKind::Presence, None, frame.clone()));
        }
    }
}

impl Hub {
    /// Tells a user that a friend came or went, unless they know, or know better.
    pub(in crate::realtime) fn meet(&self, user: UserId, news: &News) {
        let mut state = self.state();
        let Some(room) = state.rooms.get_mut(&user) else { return };
        if room.company.hears(news.user, Instant::now()) && room.company.learn(news) {
            for socket in &room.sockets {
                socket.put(Envelope::unlogged(FrameKind::Presence, None, news.frame.clone()));
            }
        }
    }

    /// Tells a user that someone is typing, but of a conversation that they are out of.
    pub(in crate::realtime) fn typing(&self, user: UserId, typing: &Typing) {
        let mut state = self.state();
        let Some(Room { company, sockets, .. }) = state.rooms.get_mut(&user) else { return };
        let now = Instant::now();
        if company.is_in(typing.conversation, now) && company.hears(typing.user, now) {
            let conversation = Some(typing.conversation);
            for socket in &*sockets {
                let frame = typing.frame.clone();
                socket.put(Envelope::unlogged(FrameKind::Typing, conversation, frame));
            }
        }
    }

    /// Two are friends no more: nothing more of how the other is.
    pub(in crate::realtime) fn part(&self, user: UserId, other: UserId) {
        if let Some(room) = self.state().rooms.get_mut(&user) {
            room.company.part(other);
        }
    }

    /// Two are friends now.
    pub(in crate::realtime) fn join(&self, user: UserId, other: UserId) {
        if let Some(room) = self.state().rooms.get_mut(&user) {
            room.company.parted.remove(&other);
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

    fn news(user: UserId, stamp: u64, online: bool) -> News {
        News { user, stamp, online, frame: format!("{online}").into() }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (mut company, friend) = (Company::default(), UserId::random());
        assert!(!company.learn(&news(friend, 1, false)), "nobody thought otherwise");
        assert!(company.learn(&news(friend, 2, true)));
        assert!(!company.learn(&news(friend, 3, true)), "again");
        assert!(company.learn(&news(friend, 5, false)));
        assert!(!company.learn(&news(friend, 4, true)), "from before");
        assert!(company.learn(&news(friend, 6, true)));
    }

    #[test]
    fn what_is_under_way_of_one_who_left_is_not_told() {
        let (mut company, friend, now) = (Company::default(), UserId::random(), Instant::now());
        assert!(company.hears(friend, now));
        company.parted.insert(friend, now);
        assert!(!company.hears(friend, now));
        assert!(company.hears(friend, now + UNDER_WAY));
    }

    #[tokio::test]
    async fn who_is_out_is_told_of_no_typing_that_was_under_way() {
        let (hub, _changes) = Hub::new(1);
        let (user, typist) = (UserId::random(), UserId::random());
        let socket = Socket::new(user, SessionId::random(), Timestamp::from_millis(0));
        let socket = Arc::new(socket);
        hub.expect(&socket).expect("room");
        hub.assume(user, Position::default());
        assert!(hub.enter(&socket).is_some());
        let [left, stays] = [user, typist].map(|it| ConversationId::direct(it, typist));
        let typing = |conversation| Typing { conversation, user: typist, frame: "typing".into() };
        hub.typing(user, &typing(left));
        hub.bar(user, left, Position::default());
        hub.typing(user, &typing(left));
        hub.typing(user, &typing(stays));
        let told = Envelope::unlogged(FrameKind::Typing, Some(stays), "typing".into());
        assert_eq!(socket.next().await, Next::Frames(vec![told]));
    }
}
