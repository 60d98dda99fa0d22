//! What is to be done about presence. All of it says only of whom, never what: what is done late,
//! or again, is done by what then is so.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Whose connections Redis is to be told of, and when they were last here, where they went.
    changed: HashMap<UserId, Option<Timestamp>>,
    /// Who is to be told to their friends, and from when on.
    tell: HashMap<UserId, Instant>,
    /// Who is to be told of their friends.
    look: HashSet<UserId>,
    /// When everyone here is.
    look_at_all: Option<Instant>,
}

impl Work {
    /// Connections of a user came or went, at some time.
    pub fn changed(&mut self, user: UserId, left: Option<Timestamp>) {
        let at = self.changed.entry(user).or_default();
        *at = (*at).max(left);
    }

    /// A user came or went: the last word counts, as it is looked then what is so.
    pub fn tell(&mut self, user: UserId, from: Instant) {
        self.tell.insert(user, from);
    }

    /// As [`tell`](Self::tell), unless something is to be told already.
    pub fn tell_again(&mut self, user: UserId, from: Instant) {
        self.tell.entry(user).or_insert(from);
    }

    /// A user is to be told of their friends.
    pub fn look(&mut self, user: UserId) {
        self.look.insert(user);
    }

    /// Everyone is, then.
    pub fn look_at_all(&mut self, from: Instant) {
        self.look_at_all = Some(self.look_at_all.map_or(from, |already| already.max(from)));
    }

    /// Takes up to `count` whose connections changed.
    pub fn take_changed(&mut self, count: usize) -> Vec<(UserId, Option<Timestamp>)> {
        let users: Vec<UserId> = self.changed.keys().take(count).copied().collect();
        users.iter().filter_map(|user| self.changed.remove_entry(user)).collect()
    }

    /// Takes up to `count` who are to be told to their friends now.
    pub fn take_tell(&mut self, count: usize, now: Instant) -> Vec<UserId> {
        let due = self.tell.iter().filter(|(_, from)| **from <= now);
        let users: Vec<UserId> = due.map(|(user, _)| *user).take(count).collect();
        for user in &users {
            self.tell.remove(user);
        }
        users
    }

    /// Takes up to `count` who are to be told of their friends now, of these who are here.
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

    /// Whether others are still to be told something.
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
        let (mut work, user, now) = (Work::default(), UserId::random(), Instant::now());
        work.tell(user, now + SECOND);
        assert!(work.take_tell(9, now).is_empty());
        assert!(work.is_left());
        work.tell(user, now);
        assert_eq!(work.take_tell(9, now), [user]);
        assert!(!work.is_left());
    }

    #[test]
    fn everyone_is_looked_at_after_the_last_loss() {
        let (mut work, user, now) = (Work::default(), UserId::random(), Instant::now());
        let look = |work: &mut Work, after| work.take_look(9, now + after, [user].into_iter());
        work.look_at_all(now + 3 * SECOND);
        work.look_at_all(now + SECOND);
        assert!(look(&mut work, 2 * SECOND).is_empty());
        assert_eq!(look(&mut work, 3 * SECOND), [user]);
        assert!(look(&mut work, 4 * SECOND).is_empty());
    }
}
