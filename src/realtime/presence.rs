//! Presence: which friends of those who are connected here are connected anywhere.
//!
//! An instance makes Redis know its connections and renews them; a user who came, or who went a
//! moment ago and is nowhere else, is told to their friends. What is told carries the moment at
//! which it was so, and is compared with what a receiver was told before: it may be told late,
//! twice, or by two instances. Where something may not have been told, as by an instance that
//! died, the others look how their users' friends are.

mod rounds;
mod telling;
mod work;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::work::Work;
use super::hub::{Hub, PER_ACCOUNT};
use super::socket::Close;
use crate::bus::Bus;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::events::{Envelope, EventKind, FrameKind};
use crate::domain::ids::UserId;
use crate::repositories::store::Store;

/// How long Redis may take to count a connection.
const COUNT_WITHIN: Duration = Duration::from_secs(1);

/// How long someone may be gone without being told to be.
const GONE_FOR: Duration = Duration::from_secs(2);

/// How long after Redis or the way to it was lost everyone who is connected is known again: the
/// time between two renewals, and a moment.
const KNOWN_AGAIN: Duration = Duration::from_secs(10);

/// Who is connected here, and what is to be told of it.
pub struct Presence {
    hub: Arc<Hub>,
    bus: Bus,
    store: Store,
    clock: Clock,
    state: Mutex<State>,
    next: AtomicU64,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The connections of each user; whether each was counted.
    here: HashMap<UserId, HashMap<u64, bool>>,
    work: Work,
    /// Redis did not answer: it is left to the rounds to find out when it does.
    is_away: bool,
}

/// A connection that counts for its user, until this is dropped.
#[derive(Debug)]
pub struct Present {
    presence: Arc<Presence>,
    user: UserId,
    connection: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.leave(self.user, self.connection);
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}

impl Presence {
    /// The presence of those whom a hub has.
    pub(super) fn new(hub: &Arc<Hub>, bus: &Bus, store: &Store, clock: &Clock) -> Self {
        Self {
            hub: hub.clone(),
            bus: bus.clone(),
            store: store.clone(),
            clock: clock.clone(),
            state: Mutex::default(),
            next: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    /// Counts a connection of a user. While Redis is away it is counted here only.
    ///
    /// # Errors
    /// [`Close::TooMany`] where the account has as many as it may, over all instances.
    pub(super) async fn join(self: &Arc<Self>, user: UserId) -> Result<Present, Close> {
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let is_away = {
            let mut state = self.state();
            state.here.entry(user).or_default().insert(connection, false);
            state.is_away
        };
        let present = Present { presence: self.clone(), user, connection };
        let counted = async {
            if is_away {
                return None;
            }
            let counting = self.bus.join(user, connection, PER_ACCOUNT, self.clock.now());
            timeout(COUNT_WITHIN, counting).await.ok()?.ok()
        };
        let counted = counted.await;
        if counted == Some(None) {
            return Err(Close::TooMany);
        }
        let mut state = self.state();
        if let Some(counted) = state.here.get_mut(&user).and_then(|it| it.get_mut(&connection)) {
            *counted = true;
        }
        match counted {
            Some(Some(0)) => state.work.tell(user, Instant::now()),
            Some(_) => {}
            None => {
                state.is_away = true;
                state.work.changed(user, None);
            }
        }
        drop(state);
        self.wake.notify_one();
        Ok(present)
    }

    fn leave(&self, user: UserId, connection: u64) {
        let mut state = self.state();
        if let Some(connections) = state.here.get_mut(&user) {
            connections.remove(&connection);
            if connections.is_empty() {
                state.here.remove(&user);
            }
        }
        state.work.changed(user, Some(self.clock.now()));
        drop(state);
        self.wake.notify_one();
    }

    /// Looks how the friends of a user are, who is then told what is new to them.
    pub(super) fn look(&self, user: UserId) {
        self.state().work.look(user);
        self.wake.notify_one();
    }

    /// Looks how the friends of everyone here are, as soon as that is known again: what was told
    /// meanwhile may not have been heard.
    pub(super) fn look_again(&self) {
        self.state().work.look_at_all(Instant::now() + KNOWN_AGAIN);
    }

    /// A user was sent this event: it may say that they have a friend more or less.
    pub(super) fn heard(&self, user: UserId, envelope: &Envelope) {
        let Some(other) = envelope.subject else { return };
        if envelope.kind == FrameKind::Event(EventKind::FriendRemoved) {
            self.hub.part(user, other);
        } else if envelope.kind == FrameKind::Event(EventKind::FriendAccepted) {
            self.hub.join(user, other);
            self.look(user);
        }
    }

    /// All users who are here.
    fn users(&self) -> HashSet<UserId> {
        self.state().here.keys().copied().collect()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
