//! Positions of users, where events alone do not move them.

use std::collections::HashSet;

use super::Hub;
use crate::domain::events::Position;
use crate::domain::ids::UserId;
use crate::realtime::socket::Close;

impl Hub {
    /// Sets the position of a user to a moment of the store, while the log cannot be read.
    pub(in crate::realtime) fn assume(&self, user: UserId, position: Position) {
        if let Some(connections) = self.state().users.get_mut(&user) {
            connections.complete_to.get_or_insert(position);
        }
    }

    /// The hub delivered all events of a user up to `to`; `last` is the last of them.
    pub(in crate::realtime) fn complete(&self, user: UserId, to: Position, last: Option<Position>) {
        if let Some(connections) = self.state().users.get_mut(&user) {
            connections.last = connections.last.max(last);
            connections.complete_to = connections.complete_to.max(Some(to));
            connections.known.notify_waiters();
        }
    }

    /// Sets the position of a user to the end of the log; returns the position if it was set before.
    pub(in crate::realtime) fn know(
        &self,
        user: UserId,
        to: Position,
        last: Option<Position>,
    ) -> Option<Position> {
        let mut state = self.state();
        let connections = state.users.get_mut(&user)?;
        if connections.complete_to.is_none() {
            (connections.complete_to, connections.last) = (Some(to), last);
            connections.known.notify_waiters();
            return None;
        }
        connections.complete_to
    }

    /// Closes all connections of a user, because events before `to` may be missing.
    pub(in crate::realtime) fn skip(&self, user: UserId, to: Position, last: Option<Position>) {
        if let Some(connections) = self.state().users.get_mut(&user) {
            // At once: a new connection must not begin at the old position.
            (connections.complete_to, connections.last) = (Some(to), last);
            for socket in &connections.sockets {
                socket.end(Close::Leaving);
            }
        }
    }

    /// The hub delivered all events of these users up to `to`.
    pub(in crate::realtime) fn all_complete(&self, users: &HashSet<UserId>, to: Position) {
        let mut state = self.state();
        for (_, connections) in state.users.iter_mut().filter(|(user, _)| users.contains(user)) {
            connections.complete_to = connections.complete_to.map(|at| at.max(to));
        }
    }
}
