//! Pending updates of presence. Entries hold user ids only; the state is read when the update runs, so
//! late or repeated updates are harmless.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;

/// The pending updates of an instance.
#[derive(Debug, Default)]
pub(super) struct PendingUpdates {
    /// Users whose connections Redis must learn, with the time of the last disconnect.
    changed: HashMap<UserId, Option<Timestamp>>,
    /// Users whose presence their friends must learn, and the earliest time for it.
    tell: HashMap<UserId, Instant>,
    /// Users who must learn the presence of their friends.
    look: HashSet<UserId>,
    /// When all users of this instance must learn it.
    look_at_all: Option<Instant>,
}

impl PendingUpdates {
    /// A connection of a user opened, or closed at `left`.
    pub fn changed(&mut self, user: UserId, left: Option<Timestamp>) {
        let at = self.changed.entry(user).or_default();
        *at = (*at).max(left);
    }

    /// Schedules the presence of a user for their friends; replaces an earlier entry.
    pub fn tell(&mut self, user: UserId, from: Instant) {
        self.tell.insert(user, from);
    }

    /// As [`tell`](Self::tell), unless there is an entry.
    pub fn tell_again(&mut self, user: UserId, from: Instant) {
        self.tell.entry(user).or_insert(from);
    }

    /// Schedules the presence of all friends of a user.
    pub fn look(&mut self, user: UserId) {
        self.look.insert(user);
    }

    /// Schedules it for all users of this instance.
    pub fn look_at_all(&mut self, from: Instant) {
        self.look_at_all = Some(self.look_at_all.map_or(from, |already| already.max(from)));
    }

    /// Takes up to `count` users whose connections changed.
    pub fn take_changed(&mut self, count: usize) -> Vec<(UserId, Option<Timestamp>)> {
        let users: Vec<UserId> = self.changed.keys().take(count).copied().collect();
        users.iter().filter_map(|user| self.changed.remove_entry(user)).collect()
    }

    /// Takes up to `count` users whose friends are due.
    pub fn take_tell(&mut self, count: usize, now: Instant) -> Vec<UserId> {
        let due = self.tell.iter().filter(|(_, from)| **from <= now);
        let users: Vec<UserId> = due.map(|(user, _)| *user).take(count).collect();
        for user in &users {
            self.tell.remove(user);
        }
        users
    }

    /// Takes up to `count` users of `here` who must learn the presence of their friends now.
    pub fn take_look(
        &mut self,
        count: usize,
        now: Instant,
        here: impl Iterator<Item = UserId>,
    ) -> Vec<UserId> {
        if self.look_at_all.is_some_and(|from| from <= now) {
            self.look_at_all = None;
            self.look.extend(here);
        }
        let users: Vec<UserId> = self.look.iter().take(count).copied().collect();
        for user in &users {
            self.look.remove(user);
        }
        users
    }

    /// Whether updates for others remain.
    pub fn is_left(&self) -> bool {
        !self.changed.is_empty() || !self.tell.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_comes_back_in_time_was_never_gone() {
        let (mut pending, user, now) =
            (PendingUpdates::default(), UserId::random(), Instant::now());
        pending.tell(user, now + SECOND);
        assert!(pending.take_tell(9, now).is_empty());
        assert!(pending.is_left());
        pending.tell(user, now);
        assert_eq!(pending.take_tell(9, now), [user]);
        assert!(!pending.is_left());
    }

    #[test]
    fn everyone_is_looked_at_after_the_last_loss() {
        let (mut pending, user, now) =
            (PendingUpdates::default(), UserId::random(), Instant::now());
        let look = |pending: &mut PendingUpdates, after| {
            pending.take_look(9, now + after, [user].into_iter())
        };
        pending.look_at_all(now + 3 * SECOND);
        pending.look_at_all(now + SECOND);
        assert!(look(&mut pending, 2 * SECOND).is_empty());
        assert_eq!(look(&mut pending, 3 * SECOND), [user]);
        assert!(look(&mut pending, 4 * SECOND).is_empty());
    }
}
