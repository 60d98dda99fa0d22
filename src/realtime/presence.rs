//! Presence: which friends of the users of this instance are connected to any instance.
//!
//! An instance keeps its connections in Redis and renews them. It publishes to friends that a user
//! came online, or went offline a moment ago. An update carries the time of its state, and a receiver
//! drops older states: an update may come late, twice, or from two instances. If updates may be lost,
//! for example with an instance that crashed, the others read the presence of their users' friends.

mod heartbeat;
mod pending;
mod publish;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::pending::PendingUpdates;
use super::hub::{Hub, MAX_CONNECTIONS_PER_ACCOUNT};
use super::socket::Close;
use crate::bus::Bus;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::events::{Envelope, EventKind, FrameKind};
use crate::domain::ids::UserId;
use crate::store::Store;

/// How long Redis may take to count a connection.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a user may be disconnected before friends receive the update.
const OFFLINE_DELAY: Duration = Duration::from_secs(2);

/// How long after a loss of Redis all connections are in Redis again: the interval of renewals, and
/// a margin.
const RECOVERY_DELAY: Duration = Duration::from_secs(10);

/// The connections of this instance as friends see them.
#[derive(derive_more::Debug)]
#[debug("Presence")]
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
    pending: PendingUpdates,
    /// Redis did not answer; the heartbeat finds out when it does.
    is_away: bool,
}

/// Counts a connection of a user until this is dropped.
#[derive(Debug)]
pub struct CountedConnection {
    presence: Arc<Presence>,
    user: UserId,
    connection: u64,
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.presence.leave(self.user, self.connection);
    }
}

impl Presence {
    /// The presence of the users of a hub.
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

    /// Counts a connection of a user; while Redis is away, at this instance only.
    ///
    /// # Errors
    /// [`Close::TooMany`] if the account has the maximum over all instances.
    pub(super) async fn join(self: &Arc<Self>, user: UserId) -> Result<CountedConnection, Close> {
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let is_away = {
            let mut state = self.state();
            state.here.entry(user).or_default().insert(connection, false);
            state.is_away
        };
        let present = CountedConnection { presence: self.clone(), user, connection };
        let counted = async {
            if is_away {
                return None;
            }
            let counting =
                self.bus.join(user, connection, MAX_CONNECTIONS_PER_ACCOUNT, self.clock.now());
            timeout(COUNT_TIMEOUT, counting).await.ok()?.ok()
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
            Some(Some(0)) => state.pending.tell(user, Instant::now()),
            Some(_) => {}
            None => {
                state.is_away = true;
                state.pending.changed(user, None);
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
        state.pending.changed(user, Some(self.clock.now()));
        drop(state);
        self.wake.notify_one();
    }

    /// Delivers the presence of all friends to a user.
    pub(super) fn look(&self, user: UserId) {
        self.state().pending.look(user);
        self.wake.notify_one();
    }

    /// Delivers the presence of friends to all users once Redis has all connections again, because
    /// updates may be lost.
    pub(super) fn look_again(&self) {
        self.state().pending.look_at_all(Instant::now() + RECOVERY_DELAY);
    }

    /// Follows the friendships of a user by the events that the hub delivers.
    pub(super) fn heard(&self, user: UserId, envelope: &Envelope) {
        let Some(other) = envelope.subject else { return };
        if envelope.kind == FrameKind::Event(EventKind::FriendRemoved) {
            self.hub.part(user, other);
        } else if envelope.kind == FrameKind::Event(EventKind::FriendAccepted) {
            self.hub.join(user, other);
            self.look(user);
        }
    }

    /// All users of this instance.
    fn users(&self) -> HashSet<UserId> {
        self.state().here.keys().copied().collect()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
