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
    pub fn take_tell(&mut self, count: usize) -> Vec<UserId> {
        let now = Instant::now();
        let due = self.tell.iter().filter(|(_, from)| **from <= now);
        let users: Vec<UserId> = due.map(|(user, _)| *user).take(count).collect();
        for user in &users {
            self.tell.remove(user);
        }
        users
    }

    /// Takes up to `count` who are to be told of their friends now, of these who are here.
    pub fn take_look(&mut self, count: usize, here: impl Iterator<Item = UserId>) -> Vec<UserId> {
        if self.look_at_all.is_some_and(|from| from <= Instant::now()) {
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

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_in_time_was_never_gone() {
        let (mut work, user) = (Work::default(), UserId::random());
        work.tell(user, Instant::now() + Duration::from_secs(2));
        assert!(work.take_tell(9).is_empty());
        assert!(work.is_left());
        work.tell(user, Instant::now());
        assert_eq!(work.take_tell(9), [user]);
        assert!(!work.is_left());
    }

    #[tokio::test(start_paused = true)]
    async fn everyone_is_looked_at_after_the_last_loss() {
        let (mut work, user) = (Work::default(), UserId::random());
        let second = Duration::from_secs(1);
        work.look_at_all(Instant::now() + 3 * second);
        work.look_at_all(Instant::now() + second);
        tokio::time::advance(2 * second).await;
        assert!(work.take_look(9, [user].into_iter()).is_empty());
        tokio::time::advance(second).await;
        assert_eq!(work.take_look(9, [user].into_iter()), [user]);
        assert!(work.take_look(9, [user].into_iter()).is_empty());
    }
}
