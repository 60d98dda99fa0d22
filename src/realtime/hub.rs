//! The hub: which users are connected to this instance, how far each was told, and their
//! connections. It hands out what the [link](super::link) hears; nothing here waits for anyone.

mod company;
mod doors;
mod left;
mod progress;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use self::company::Company;
pub(super) use self::doors::Arrival;
use self::left::Left;
use super::socket::{Close, Ending, Socket};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::{SessionId, UserId};

/// Connections that one account may have: over all instances, and where it is not known how many
/// are elsewhere, at this one.
pub(super) const PER_ACCOUNT: usize = 10;

/// What of one user is here.
#[derive(Debug, Default)]
struct Room {
    /// All events up to here were handed out; `None` until that is known.
    complete_to: Option<Position>,
    /// The last event in the log, if there is one.
    last: Option<Position>,
    sockets: Vec<Arc<Socket>>,
    /// How many are about to come.
    expected: usize,
    /// Of what nothing more is told.
    left: Left,
    company: Company,
    known: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<UserId, Room>,
    addresses: HashMap<IpAddr, usize>,
    closing: bool,
}

/// The connections of this instance.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Users who came or went, for the link.
    changed: mpsc::UnboundedSender<UserId>,
    per_address: usize,
}

/// Where a connection was let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// What comes after this goes into its queue.
    pub complete_to: Position,
    /// The last event before that, if there is one.
    pub last: Option<Position>,
}

/// How far someone was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// They are not here.
    Absent,
    /// Nobody has looked yet.
    Unknown,
    /// Everything up to here.
    To(Position),
}

impl Hub {
    /// An empty hub that takes so many connections from one address, and where it tells who came
    /// or went.
    #[must_use]
    pub fn new(per_address: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<UserId>) {
        let (changed, changes) = mpsc::unbounded_channel();
        (Arc::new(Self { state: Mutex::default(), changed, per_address }), changes)
    }

    /// Announces a connection: from now on the link finds out how far its user's log is.
    pub(super) fn expect(&self, socket: &Socket) -> Result<Arc<Notify>, Close> {
        let mut state = self.state();
        if state.closing {
            return Err(Close::Leaving);
        }
        let room = state.rooms.entry(socket.user).or_default();
        // Of all instances Redis counts them; this is what is left of that while it is away.
        if room.sockets.len() + room.expected >= PER_ACCOUNT {
            return Err(Close::TooMany);
        }
        room.expected += 1;
        let known = room.known.clone();
        let _ = self.changed.send(socket.user);
        Ok(known)
    }

    /// Lets a connection in, if it is known how far its user was told: whatever comes after that
    /// goes into its queue.
    pub(super) fn enter(&self, socket: &Arc<Socket>) -> Option<Entered> {
        let mut state = self.state();
        let closing = state.closing;
        let room = state.rooms.get_mut(&socket.user)?;
        let complete_to = room.complete_to?;
        room.expected = room.expected.saturating_sub(1);
        room.company.greet(socket);
        room.sockets.push(socket.clone());
        if closing {
            socket.end(Close::Leaving);
        }
        Some(Entered { complete_to, last: room.last })
    }

    /// A connection is gone, whether or not it was let in.
    pub(super) fn leave(&self, socket: &Arc<Socket>) {
        let mut state = self.state();
        let Some(room) = state.rooms.get_mut(&socket.user) else { return };
        let before = room.sockets.len();
        room.sockets.retain(|other| !Arc::ptr_eq(other, socket));
        if room.sockets.len() == before {
            room.expected = room.expected.saturating_sub(1);
        }
        if room.sockets.is_empty() && room.expected == 0 {
            state.rooms.remove(&socket.user);
            let _ = self.changed.send(socket.user);
        }
    }

    /// Everyone who is here, with how far they were told.
    pub(super) fn users(&self) -> Vec<(UserId, Option<Position>)> {
        self.state().rooms.iter().map(|(user, room)| (*user, room.complete_to)).collect()
    }

    /// How far someone was told.
    pub(super) fn reached(&self, user: UserId) -> Reached {
        match self.state().rooms.get(&user).map(|room| room.complete_to) {
            None => Reached::Absent,
            Some(None) => Reached::Unknown,
            Some(Some(position)) => Reached::To(position),
        }
    }

    /// Hands an event to all connections of a user, unless it was before.
    pub(super) fn tell(&self, user: UserId, position: Position, envelope: &Envelope) {
        let mut state = self.state();
        let Some(room) = state.rooms.get_mut(&user) else { return };
        if room.complete_to.is_none_or(|to| position <= to) {
            return;
        }
        (room.complete_to, room.last) = (Some(position), Some(position));
        if room.left.hides(user, envelope) {
            return;
        }
        for socket in &room.sockets {
            socket.put(envelope.clone());
        }
    }

    /// Closes all connections of a user, who may have missed something.
    pub(super) fn send_away(&self, user: UserId) {
        if let Some(room) = self.state().rooms.get(&user) {
            for socket in &room.sockets {
                socket.end(Close::Leaving);
            }
        }
    }

    /// All connections that are let in.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.state().rooms.values().flat_map(|room| room.sockets.iter().cloned()).collect()
    }

    /// Closes connections whose token has expired.
    pub(super) fn expire(&self, now: Timestamp) {
        for socket in self.sockets() {
            if socket.expires_at() <= now {
                socket.end(Close::Unauthenticated);
            }
        }
    }

    /// Closes the connections of a session with a last frame, made for where each is in its log.
    pub(super) fn end_session(
        &self,
        session: SessionId,
        last: impl Fn(Position) -> Option<Envelope>,
    ) {
        let state = self.state();
        for room in state.rooms.values() {
            // In the order of ids it is after all that was told.
            let id = room.complete_to.unwrap_or_default().next();
            for socket in room.sockets.iter().filter(|socket| socket.session == session) {
                socket.end_with(Ending { last: last(id), close: Close::Unauthenticated });
            }
        }
    }

    /// Lets nobody else in; who is to be closed.
    pub(super) fn close(&self) -> Vec<Arc<Socket>> {
        self.state().closing = true;
        self.sockets()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
