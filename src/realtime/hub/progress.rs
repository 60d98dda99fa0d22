//! How far users were told, where that is not by one event after the other.

use std::collections::HashSet;

use super::Hub;
use crate::domain::events::Position;
use crate::domain::ids::UserId;
use crate::realtime::socket::Close;

impl Hub {
    /// Says how far a user was told where the log cannot: from a moment of the store.
    pub(in crate::realtime) fn assume(&self, user: UserId, position: Position) {
        if let Some(room) = self.state().rooms.get_mut(&user) {
            room.complete_to.get_or_insert(position);
        }
    }

    /// Everything up to here was handed out, of which this was the last event.
    pub(in crate::realtime) fn complete(&self, user: UserId, to: Position, last: Option<Position>) {
        if let Some(room) = self.state().rooms.get_mut(&user) {
            room.last = room.last.max(last);
            room.complete_to = room.complete_to.max(Some(to));
            room.known.notify_waiters();
        }
    }

    /// Says how far a user's log is who was told nothing yet; gives how far they were told if
    /// that was known by now.
    pub(in crate::realtime) fn know(
        &self,
        user: UserId,
        to: Position,
        last: Option<Position>,
    ) -> Option<Position> {
        let mut state = self.state();
        let room = state.rooms.get_mut(&user)?;
        if room.complete_to.is_none() {
            (room.complete_to, room.last) = (Some(to), last);
            room.known.notify_waiters();
            return None;
        }
        room.complete_to
    }

    /// Closes all connections of a user, who may have missed something of what was before this.
    pub(in crate::realtime) fn skip(&self, user: UserId, to: Position, last: Option<Position>) {
        if let Some(room) = self.state().rooms.get_mut(&user) {
            // At once: who comes now must not begin where the others were.
            (room.complete_to, room.last) = (Some(to), last);
            for socket in &room.sockets {
                socket.end(Close::Leaving);
            }
        }
    }

    /// Everything up to here was handed out, for all these.
    pub(in crate::realtime) fn all_complete(&self, users: &HashSet<UserId>, to: Position) {
        let mut state = self.state();
        for (_, room) in state.rooms.iter_mut().filter(|(user, _)| users.contains(user)) {
            room.complete_to = room.complete_to.map(|at| at.max(to));
        }
    }
}
