//! The hub: the users who are connected to this instance, their connections, and the position up
//! to which each user has every event. It delivers events of the [link](super::link) and never waits.

mod friend_presence;
mod permits;
mod progress;
mod visibility;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc};

use self::friend_presence::FriendPresence;
pub(super) use self::permits::ConnectionPermit;
use self::visibility::VisibilityFilter;
use super::socket::{Close, Ending, Socket};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::{SessionId, UserId};

/// Connections that one account may have over all instances. While Redis is away the limit holds for
/// each instance.
pub(super) const MAX_CONNECTIONS_PER_ACCOUNT: usize = 10;

/// The connections of one user to this instance.
#[derive(Debug, Default)]
struct UserConnections {
    /// The hub delivered all events up to here; `None` until the link has read the log.
    complete_to: Option<Position>,
    /// The last event in the log, if there is one.
    last: Option<Position>,
    sockets: Vec<Arc<Socket>>,
    /// How many connections are reserved but not yet added.
    expected: usize,
    /// The conversations whose events the hub withholds.
    filter: VisibilityFilter,
    friends: FriendPresence,
    known: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, UserConnections>,
    addresses: HashMap<IpAddr, usize>,
    closing: bool,
}

/// The connections of this instance.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Users who connected or disconnected, for the link.
    changed: mpsc::UnboundedSender<UserId>,
    per_address: usize,
}

/// Where a connection begins in the log of its user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entered {
    /// Events after this position go into its queue.
    pub complete_to: Position,
    /// The last event up to that position, if there is one.
    pub last: Option<Position>,
}

/// Up to where the hub delivered the events of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The user is not connected here.
    Absent,
    /// The link has not read the log yet.
    Unknown,
    /// All events up to here.
    To(Position),
}

impl Hub {
    /// An empty hub that accepts `per_address` connections from one address, and the channel of users
    /// who connect and disconnect.
    #[must_use]
    pub fn new(per_address: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<UserId>) {
        let (changed, changes) = mpsc::unbounded_channel();
        (Arc::new(Self { state: Mutex::default(), changed, per_address }), changes)
    }

    /// Reserves a connection. The link begins to read the log of its user.
    pub(super) fn expect(&self, socket: &Socket) -> Result<Arc<Notify>, Close> {
        let mut state = self.state();
        if state.closing {
            return Err(Close::Leaving);
        }
        let connections = state.users.entry(socket.user).or_default();
        // Redis counts the connections of all instances; this limit remains while Redis is away.
        if connections.sockets.len() + connections.expected >= MAX_CONNECTIONS_PER_ACCOUNT {
            return Err(Close::TooMany);
        }
        connections.expected += 1;
        let known = connections.known.clone();
        let _ = self.changed.send(socket.user);
        Ok(known)
    }

    /// Adds a connection if the position of its user is known. Later events go into its queue.
    pub(super) fn enter(&self, socket: &Arc<Socket>) -> Option<Entered> {
        let mut state = self.state();
        let closing = state.closing;
        let connections = state.users.get_mut(&socket.user)?;
        let complete_to = connections.complete_to?;
        connections.expected = connections.expected.saturating_sub(1);
        connections.friends.greet(socket);
        connections.sockets.push(socket.clone());
        if closing {
            socket.end(Close::Leaving);
        }
        Some(Entered { complete_to, last: connections.last })
    }

    /// Removes a connection, added or only reserved.
    pub(super) fn leave(&self, socket: &Arc<Socket>) {
        let mut state = self.state();
        let Some(connections) = state.users.get_mut(&socket.user) else { return };
        let before = connections.sockets.len();
        connections.sockets.retain(|other| !Arc::ptr_eq(other, socket));
        if connections.sockets.len() == before {
            connections.expected = connections.expected.saturating_sub(1);
        }
        if connections.sockets.is_empty() && connections.expected == 0 {
            state.users.remove(&socket.user);
            let _ = self.changed.send(socket.user);
        }
    }

    /// All connected users, each with the position up to which they have all events.
    pub(super) fn users(&self) -> Vec<(UserId, Option<Position>)> {
        self.state()
            .users
            .iter()
            .map(|(user, connections)| (*user, connections.complete_to))
            .collect()
    }

    /// Up to where the hub delivered the events of a user.
    pub(super) fn reached(&self, user: UserId) -> Reached {
        match self.state().users.get(&user).map(|connections| connections.complete_to) {
            None => Reached::Absent,
            Some(None) => Reached::Unknown,
            Some(Some(position)) => Reached::To(position),
        }
    }

    /// Delivers an event to all connections of a user, unless the hub did so before.
    pub(super) fn tell(&self, user: UserId, position: Position, envelope: &Envelope) {
        let mut state = self.state();
        let Some(connections) = state.users.get_mut(&user) else { return };
        if connections.complete_to.is_none_or(|to| position <= to) {
            return;
        }
        (connections.complete_to, connections.last) = (Some(position), Some(position));
        if connections.filter.hides(user, envelope) {
            return;
        }
        for socket in &connections.sockets {
            socket.put(envelope.clone());
        }
    }

    /// Closes all connections of a user, because events may be missing.
    pub(super) fn send_away(&self, user: UserId) {
        if let Some(connections) = self.state().users.get(&user) {
            for socket in &connections.sockets {
                socket.end(Close::Leaving);
            }
        }
    }

    /// All connections.
    pub(super) fn sockets(&self) -> Vec<Arc<Socket>> {
        self.state()
            .users
            .values()
            .flat_map(|connections| connections.sockets.iter().cloned())
            .collect()
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
        for connections in state.users.values() {
            // This id is greater than those of all delivered events.
            let id = connections.complete_to.unwrap_or_default().next();
            for socket in connections.sockets.iter().filter(|socket| socket.session == session) {
                socket.end_with(Ending { last: last(id), close: Close::Unauthenticated });
            }
        }
    }

    /// Refuses new connections; returns those that remain to be closed.
    pub(super) fn close(&self) -> Vec<Arc<Socket>> {
        self.state().closing = true;
        self.sockets()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
