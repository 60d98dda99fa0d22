//! What waits for one connection: shared frames in a bounded queue, and how it is to end.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::clock::Timestamp;
use crate::domain::events::Position;
use crate::domain::ids::{ConversationId, SessionId, UserId};
use crate::services::frames::Frame;

/// How many frames may wait; a client that has more is too slow.
const WAITING: usize = 1000;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The server is leaving, or cannot be sure that nothing was missed: come back elsewhere.
    Leaving,
    /// A frame over 16 KiB.
    TooBig,
    /// Not JSON, not an object, or fields of wrong types.
    Malformed,
    /// The token has expired or the session has ended.
    Unauthenticated,
    /// No token in time.
    NoToken,
    /// Too slow a reader.
    TooSlow,
    /// Too many connections or frames.
    TooMany,
}

impl Close {
    /// Its code (RFC 6455 §7.4) and what it says to people.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::Leaving => (1001, "the server is leaving: come back"),
            Self::TooBig => (1009, "a frame is at most 16 KiB"),
            Self::Malformed => (4400, "not a JSON object of the expected fields"),
            Self::Unauthenticated => (4401, "the token has expired or the session has ended"),
            Self::NoToken => (4408, "no token in time"),
            Self::TooSlow => (4413, "too slow: come back with since"),
            Self::TooMany => (4429, "too many connections or frames"),
        }
    }
}

/// How a connection ends: perhaps with one last frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Sent before it is closed.
    pub last: Option<Frame>,
    /// Why it is closed.
    pub close: Close,
}

/// A frame in the queue, with its place in the log, if it has one, and what it belongs to.
#[derive(Debug)]
struct Waiting {
    position: Option<Position>,
    conversation: Option<ConversationId>,
    frame: Frame,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The client has everything up to here.
    after: Position,
    ending: Option<Ending>,
    expires_at: Timestamp,
}

/// One connection, as the hub sees it.
#[derive(Debug)]
pub struct Socket {
    /// Whose it is.
    pub user: UserId,
    /// Of which session.
    pub session: SessionId,
    /// From where.
    pub addr: IpAddr,
    state: Mutex<State>,
    wake: Notify,
}

/// What is to be done next for a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these.
    Frames(Vec<Frame>),
    /// End it.
    End(Ending),
}

impl Socket {
    /// A connection with a token that is good until `expires_at`.
    pub fn new(user: UserId, session: SessionId, addr: IpAddr, expires_at: Timestamp) -> Self {
        let (waiting, after, ending) = Default::default();
        let state = State { waiting, after, ending, expires_at };
        Self { user, session, addr, state: Mutex::new(state), wake: Notify::new() }
    }

    /// Puts an event into the queue, unless the client has it.
    pub fn tell(&self, position: Position, conversation: Option<ConversationId>, frame: Frame) {
        self.put(Waiting { position: Some(position), conversation, frame });
    }

    /// Puts a frame into the queue that is in no log.
    pub fn pass(&self, conversation: Option<ConversationId>, frame: Frame) {
        self.put(Waiting { position: None, conversation, frame });
    }

    /// One frame too many ends the connection, and all that waits goes.
    fn put(&self, waiting: Waiting) {
        let mut state = self.state();
        if state.ending.is_some() || waiting.position.is_some_and(|it| it <= state.after) {
            return;
        }
        if state.waiting.len() >= WAITING {
            drop(state);
            return self.end(Close::TooSlow);
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.wake.notify_one();
    }

    /// The client has everything up to here.
    pub fn begin_after(&self, position: Position) {
        let mut state = self.state();
        state.after = position;
        state.waiting.retain(|it| it.position.is_none_or(|it| it > position));
    }

    /// Takes back what waits of a conversation.
    pub fn drop_all_of(&self, conversation: ConversationId) {
        self.state().waiting.retain(|it| it.conversation != Some(conversation));
    }

    /// Ends the connection now: what waits is not sent.
    pub fn end(&self, close: Close) {
        self.end_with(Ending { last: None, close });
    }

    /// As [`end`](Self::end), with one last frame. The first reason stands.
    pub fn end_with(&self, ending: Ending) {
        let mut state = self.state();
        state.waiting = VecDeque::new();
        state.ending.get_or_insert(ending);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for frames, all that wait by then, or for the end.
    pub async fn next(&self) -> Next {
        loop {
            {
                let mut state = self.state();
                if let Some(ending) = &state.ending {
                    return Next::End(ending.clone());
                }
                if !state.waiting.is_empty() {
                    let waiting = std::mem::take(&mut state.waiting);
                    return Next::Frames(waiting.into_iter().map(|it| it.frame).collect());
                }
            }
            self.wake.notified().await;
        }
    }

    /// From when on its token is refused.
    pub fn expires_at(&self) -> Timestamp {
        self.state().expires_at
    }

    /// A newer token is good until then.
    pub fn renew(&self, expires_at: Timestamp) {
        let mut state = self.state();
        state.expires_at = state.expires_at.max(expires_at);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn socket() -> Socket {
        let addr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Socket::new(UserId::random(), SessionId::random(), addr, Timestamp::from_millis(0))
    }

    #[tokio::test]
    async fn a_thousand_frames_wait_and_one_more_is_too_slow() {
        let socket = socket();
        for n in 0..WAITING {
            socket.pass(None, n.to_string().into());
        }
        let Next::Frames(frames) = socket.next().await else { panic!("ended") };
        assert_eq!(frames.len(), WAITING);
        assert!((0..WAITING).all(|n| *frames[n] == n.to_string()));
        for _ in 0..=WAITING {
            socket.pass(None, "again".into());
        }
        let ending = Ending { last: None, close: Close::TooSlow };
        assert_eq!(socket.next().await, Next::End(ending));
    }

    #[tokio::test]
    async fn what_waits_of_a_conversation_is_taken_back() {
        let socket = socket();
        let user = UserId::random();
        let left = ConversationId::direct(user, user);
        socket.tell(Position::before(1), Some(left), "theirs".into());
        socket.pass(Some(left), "typing".into());
        socket.pass(None, "mine".into());
        socket.drop_all_of(left);
        assert_eq!(socket.next().await, Next::Frames(vec!["mine".into()]));
    }

    #[tokio::test]
    async fn what_the_client_has_is_not_told_again() {
        let socket = socket();
        socket.tell(Position::before(1), None, "one".into());
        socket.tell(Position::before(2), None, "two".into());
        socket.begin_after(Position::before(1));
        socket.tell(Position::before(1), None, "one".into());
        assert_eq!(socket.next().await, Next::Frames(vec!["two".into()]));
    }

    #[tokio::test]
    async fn the_first_reason_to_end_stands() {
        let socket = socket();
        socket.end(Close::Leaving);
        socket.end(Close::TooSlow);
        socket.pass(None, "late".into());
        assert_eq!(socket.next().await, Next::End(Ending { last: None, close: Close::Leaving }));
    }
}
