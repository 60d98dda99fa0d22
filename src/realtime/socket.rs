//! The queue of one connection: shared frames, bounded, and the reason why the connection ends.

mod ending;

use std::collections::VecDeque;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub use self::ending::{Close, Ending};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::{SessionId, UserId};

/// Frames in a queue; a client with more is too slow.
const MAX_QUEUED_FRAMES: usize = 1000;

/// Frames that a connection takes from its queue at once.
const SEND_BATCH: usize = 64;

#[derive(Debug)]
struct State {
    waiting: VecDeque<Envelope>,
    /// The client has all events up to here.
    after: Position,
    ending: Option<Ending>,
    expires_at: Timestamp,
    /// Counts the checks of the session; frames wait until the last check has its answer.
    holds: u64,
    is_held: bool,
    /// The connection took frames and has not sent all of them.
    is_sending: bool,
}

/// One connection, as the hub sees it.
#[derive(Debug)]
pub struct Socket {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    state: Mutex<State>,
    wake: Notify,
    rest: Notify,
}

/// The next step of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these frames.
    Frames(Vec<Envelope>),
    /// End the connection.
    End(Ending),
}

impl Socket {
    /// A connection with a token that is valid until `expires_at`.
    pub fn new(user: UserId, session: SessionId, expires_at: Timestamp) -> Self {
        let (waiting, after, ending, holds) = Default::default();
        let (is_held, is_sending) = (false, false);
        let state = State { waiting, after, ending, expires_at, holds, is_held, is_sending };
        let (wake, rest) = Default::default();
        Self { user, session, state: Mutex::new(state), wake, rest }
    }

    /// Adds a frame to the queue, unless the client has it. A full queue ends the connection.
    pub fn put(&self, waiting: Envelope) {
        let mut state = self.state();
        if state.ending.is_some() || waiting.position.is_some_and(|it| it <= state.after) {
            return;
        }
        if state.waiting.len() >= MAX_QUEUED_FRAMES {
            drop(state);
            return self.end(Close::TooSlow);
        }
        state.waiting.push_back(waiting);
        drop(state);
        self.wake.notify_one();
    }

    /// The client has all events up to `position`.
    pub fn begin_after(&self, position: Position) {
        let mut state = self.state();
        state.after = position;
        state.waiting.retain(|it| it.position.is_none_or(|it| it > position));
    }

    /// Removes queued frames that the user may no longer see.
    pub(super) fn take_back(&self, is_hidden: impl Fn(&Envelope) -> bool) {
        self.state().waiting.retain(|it| !is_hidden(it));
    }

    /// Ends the connection now, without the queued frames.
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

    /// Waits for a batch of frames or the end. The call means that the previous batch is sent.
    pub async fn next(&self) -> Next {
        self.is_sending(false);
        loop {
            {
                let mut state = self.state();
                if let Some(ending) = &state.ending {
                    return Next::End(ending.clone());
                }
                if !state.waiting.is_empty() && !state.is_held {
                    state.is_sending = true;
                    let count = state.waiting.len().min(SEND_BATCH);
                    return Next::Frames(state.waiting.drain(..count).collect());
                }
            }
            self.wake.notified().await;
        }
    }

    /// Marks frames in flight that [`next`](Self::next) did not return.
    pub(super) fn is_sending(&self, is_sending: bool) {
        self.state().is_sending = is_sending;
        if !is_sending {
            self.rest.notify_waiters();
        }
    }

    /// Waits until all taken frames are sent.
    pub(super) async fn sent(&self) {
        loop {
            let rested = self.rest.notified();
            if !self.state().is_sending {
                return;
            }
            rested.await;
        }
    }

    /// Waits until the connection may send the next frame; returns the reason if it ends instead.
    pub async fn clearance(&self) -> Option<Ending> {
        loop {
            {
                let state = self.state();
                if state.ending.is_some() || !state.is_held {
                    return state.ending.clone();
                }
            }
            self.wake.notified().await;
        }
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Ending {
        loop {
            if let Some(ending) = &self.state().ending {
                return ending.clone();
            }
            self.wake.notified().await;
        }
    }

    /// Holds frames back until the session was checked.
    pub(super) fn hold(&self) {
        let mut state = self.state();
        state.holds += 1;
        state.is_held = true;
    }

    /// How many checks of the session began.
    pub(super) fn holds(&self) -> u64 {
        self.state().holds
    }

    /// Releases the frames, unless another check began since.
    pub(super) fn release(&self, holds: u64) {
        let mut state = self.state();
        if state.holds == holds {
            state.is_held = false;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// When the token expires.
    pub fn expires_at(&self) -> Timestamp {
        self.state().expires_at
    }

    /// The client has a newer token, valid until `expires_at`.
    pub fn renew(&self, expires_at: Timestamp) {
        let mut state = self.state();
        state.expires_at = state.expires_at.max(expires_at);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::FrameKind;
    use crate::domain::ids::ConversationId;

    fn passing(text: &str) -> Envelope {
        Envelope::unlogged(FrameKind::Presence, None, text.into())
    }

    fn logged(nth: u64, text: &str) -> Envelope {
        Envelope { position: Some(Position::before(nth)), ..passing(text) }
    }

    fn socket() -> Socket {
        Socket::new(UserId::random(), SessionId::random(), Timestamp::from_millis(0))
    }

    #[tokio::test]
    async fn a_thousand_frames_wait_and_one_more_is_too_slow() {
        let socket = socket();
        for n in 0..MAX_QUEUED_FRAMES {
            socket.put(passing(&n.to_string()));
        }
        let mut seen = 0;
        while seen < MAX_QUEUED_FRAMES {
            let Next::Frames(frames) = socket.next().await else { panic!("ended") };
            assert!(frames.len() <= SEND_BATCH, "the others wait");
            for frame in frames {
                assert_eq!(*frame.frame, seen.to_string());
                seen += 1;
            }
        }
        for _ in 0..=MAX_QUEUED_FRAMES {
            socket.put(passing("again"));
        }
        let ending = Ending { last: None, close: Close::TooSlow };
        assert_eq!(socket.next().await, Next::End(ending));
    }

    #[tokio::test]
    async fn what_waits_of_a_conversation_is_taken_back() {
        let socket = socket();
        let user = UserId::random();
        let left = ConversationId::direct(user, user);
        socket.put(Envelope { conversation: Some(left), ..logged(1, "theirs") });
        socket.put(Envelope { conversation: Some(left), ..passing("typing") });
        socket.put(passing("mine"));
        socket.take_back(|waiting| waiting.conversation == Some(left));
        assert_eq!(socket.next().await, Next::Frames(vec![passing("mine")]));
    }

    #[tokio::test]
    async fn what_the_client_has_is_not_told_again() {
        let socket = socket();
        socket.put(logged(1, "one"));
        socket.put(logged(2, "two"));
        socket.begin_after(Position::before(1));
        socket.put(logged(1, "one"));
        assert_eq!(socket.next().await, Next::Frames(vec![logged(2, "two")]));
    }

    #[tokio::test]
    async fn the_first_reason_to_end_stands() {
        let socket = socket();
        socket.end(Close::Leaving);
        socket.end(Close::TooSlow);
        socket.put(passing("late"));
        assert_eq!(socket.next().await, Next::End(Ending { last: None, close: Close::Leaving }));
    }

    #[tokio::test]
    async fn what_is_told_waits_while_it_is_not_known_whether_the_session_stands() {
        let socket = socket();
        socket.hold();
        socket.put(passing("one"));
        let early = tokio::time::timeout(std::time::Duration::ZERO, socket.next()).await;
        assert!(early.is_err(), "{early:?}");
        let holds = socket.holds();
        socket.hold();
        socket.release(holds);
        let early = tokio::time::timeout(std::time::Duration::ZERO, socket.next()).await;
        assert!(early.is_err(), "{early:?}");
        socket.release(socket.holds());
        assert_eq!(socket.next().await, Next::Frames(vec![passing("one")]));
    }
}
