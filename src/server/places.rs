//! The places of a listener: who may open a connection, and which one goes when there are too many.
//!
//! A connection is *unused* until its first request, *busy* while a request is under way or once it
//! was upgraded, and *idle* between requests. Unused and idle connections are *quiet*. A newcomer
//! takes the place of the connection that has been quiet longest, and is refused only where none
//! is. All counting happens under one lock, so that connections that come at once cannot exceed a
//! limit together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::domain::clients::subscriber;
use crate::metrics::ListenerMetrics;

/// How many connections a listener holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaceLimits {
    /// At once.
    pub all: usize,
    /// From one address, of IPv6 from one /64.
    pub per_address: usize,
    /// Before their first request, handshakes included.
    pub unused: usize,
}

/// Why a connection found no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All connections of its address are busy.
    Address,
    /// All connections are busy.
    Full,
}

impl Refusal {
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Full => "full",
        }
    }
}

/// Which limit a newcomer met, so that another connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    /// The limit of its address.
    Address,
    /// The limit of unused connections.
    Unused,
    /// The limit of all connections.
    Full,
}

impl Pressure {
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Unused => "unused",
            Self::Full => "full",
        }
    }
}

/// How an evicted connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    /// Told to finish, as at a stop.
    Gently,
    /// Dropped: nothing was asked on it, or too many are going gently already.
    AtOnce,
}

/// Since when a connection is quiet, and its number.
type Key = (Instant, u64);

/// All places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    limits: PlaceLimits,
    /// Proxies in front, each with many clients behind it: no limit by address.
    trusted: Arc<[IpNet]>,
    metrics: ListenerMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the next connection.
    next: u64,
    connections: HashMap<u64, Connection>,
    /// Connections that were told to finish, which hold no place any more.
    leaving: usize,
    /// All quiet connections, and those of them that are unused.
    quiet: BTreeMap<Key, Option<IpAddr>>,
    unused: BTreeSet<Key>,
    addresses: HashMap<IpAddr, Address>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Address {
    open: usize,
    quiet: BTreeSet<Key>,
}

#[derive(Debug)]
struct Connection {
    /// `None` behind a trusted proxy.
    address: Option<IpAddr>,
    /// Requests under way; an upgrade counts as one that never ends.
    requests: usize,
    quiet: Option<Key>,
    evict: Option<oneshot::Sender<Eviction>>,
    /// Whether it was told to finish.
    leaving: bool,
}

impl Places {
    pub fn new(limits: PlaceLimits, trusted: Arc<[IpNet]>, metrics: ListenerMetrics) -> Arc<Self> {
        Arc::new(Self { limits, trusted, metrics, state: Mutex::default() })
    }

    /// Gives a connection from `addr` a place, if need be that of another one.
    pub fn admit(self: &Arc<Self>, addr: IpAddr, now: Instant) -> Result<Place, Refusal> {
        let addr = addr.to_canonical();
        let is_trusted = self.trusted.iter().any(|net| net.contains(&addr));
        let address = (!is_trusted).then(|| subscriber(addr));
        let mut displaced = None;
        let mut state = self.state();
        if let Some(own) = address.and_then(|it| state.addresses.get(&it))
            && own.open >= self.limits.per_address
        {
            let key = own.quiet.first().copied().ok_or(Refusal::Address)?;
            displaced = Some(self.evict(&mut state, key, Pressure::Address));
        }
        if state.unused.len() >= self.limits.unused
            && let Some(key) = state.unused.first().copied()
        {
            displaced = Some(self.evict(&mut state, key, Pressure::Unused));
        }
        if state.connections.len() - state.leaving >= self.limits.all {
            let key = state.quiet.keys().next().copied().ok_or(Refusal::Full)?;
            displaced = Some(self.evict(&mut state, key, Pressure::Full));
        }
        let (evict, evicted) = oneshot::channel();
        let id = state.begin(address, now, evict);
        let activity = Activity { places: Arc::clone(self), id };
        Ok(Place { activity, evicted: Some(evicted), displaced })
    }

    /// Takes the place of a quiet connection away.
    fn evict(&self, state: &mut State, key: Key, pressure: Pressure) -> Pressure {
        let is_unused = state.unused.contains(&key);
        // Those who ignore the goodbye keep their socket for a while: bounded besides the places.
        let gently = !is_unused && state.leaving < (self.limits.all / 16).max(1);
        let eviction = if gently { Eviction::Gently } else { Eviction::AtOnce };
        state.leave(key, eviction);
        self.metrics.evicted(pressure.name());
        pressure
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn begin(
        &mut self,
        address: Option<IpAddr>,
        now: Instant,
        evict: oneshot::Sender<Eviction>,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let connection =
            Connection { address, requests: 0, quiet: None, evict: Some(evict), leaving: false };
        self.connections.insert(id, connection);
        if let Some(address) = address {
            self.addresses.entry(address).or_default().open += 1;
        }
        self.rest(id, now);
        self.unused.insert((now, id));
        id
    }

    /// Notes that a connection is quiet from `now` on.
    fn rest(&mut self, id: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let key = (now, id);
        connection.quiet = Some(key);
        self.quiet.insert(key, connection.address);
        if let Some(own) = connection.address.and_then(|it| self.addresses.get_mut(&it)) {
            own.quiet.insert(key);
        }
    }

    /// Notes that a connection is quiet no more.
    fn stir(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(key) = connection.quiet.take() else { return };
        self.quiet.remove(&key);
        self.unused.remove(&key);
        if let Some(own) = connection.address.and_then(|it| self.addresses.get_mut(&it)) {
            own.quiet.remove(&key);
        }
    }

    /// Gives the place of a connection back, and tells it to go.
    fn leave(&mut self, key: Key, eviction: Eviction) {
        let id = key.1;
        self.stir(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.leaving = true;
        let (address, evict) = (connection.address, connection.evict.take());
        self.release(address);
        self.leaving += 1;
        if let Some(evict) = evict {
            // The connection may be ending by itself.
            let _ = evict.send(eviction);
        }
    }

    fn release(&mut self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        let Some(own) = self.addresses.get_mut(&address) else { return };
        own.open -= 1;
        if own.open == 0 {
            self.addresses.remove(&address);
        }
    }

    fn end(&mut self, id: u64) {
        self.stir(id);
        let Some(connection) = self.connections.remove(&id) else { return };
        if connection.leaving {
            self.leaving -= 1;
        } else {
            self.release(connection.address);
        }
    }
}

/// The place of one connection; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    activity: Activity,
    evicted: Option<oneshot::Receiver<Eviction>>,
    displaced: Option<Pressure>,
}

impl Place {
    /// Which limit was met, if another connection had to go for this one.
    pub fn displaced(&self) -> Option<Pressure> {
        self.displaced
    }

    /// The recorder of the connection's requests.
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// The signal that the connection must go; given out once.
    pub fn evicted(&mut self) -> Evicted {
        Evicted(self.evicted.take())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.activity.places.state().end(self.activity.id);
    }
}

/// The end of a connection whose place another one has taken.
#[derive(Debug)]
pub(super) struct Evicted(Option<oneshot::Receiver<Eviction>>);

impl Evicted {
    /// Waits until the connection must go; after that, for ever.
    pub async fn wait(&mut self) -> Eviction {
        if let Some(evicted) = &mut self.0
            && let Ok(eviction) = evicted.await
        {
            self.0 = None;
            return eviction;
        }
        self.0 = None;
        std::future::pending().await
    }
}

/// Notes the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    places: Arc<Places>,
    id: u64,
}

impl Activity {
    /// Notes a request, until what this gives is dropped.
    pub fn begin(&self) -> Busy {
        let mut state = self.places.state();
        state.stir(self.id);
        if let Some(connection) = state.connections.get_mut(&self.id) {
            connection.requests += 1;
        }
        drop(state);
        Busy { activity: self.clone(), is_upgraded: false }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Activity,
    is_upgraded: bool,
}

impl Busy {
    /// Notes that the connection changes its protocol: it is busy as long as it lasts.
    pub fn upgrade(&mut self) {
        self.is_upgraded = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Activity { places, id } = &self.activity;
        let mut state = places.state();
        let Some(connection) = state.connections.get_mut(id) else { return };
        if self.is_upgraded {
            return;
        }
        connection.requests -= 1;
        if connection.requests == 0 && !connection.leaving {
            state.rest(*id, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::clock::Clock;
    use crate::metrics::Metrics;

    fn places(all: usize, per_address: usize, unused: usize) -> Arc<Places> {
        let metrics = Metrics::new(Clock::manual().now()).unwrap();
        let limits = PlaceLimits { all, per_address, unused };
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Places::new(limits, trusted.into(), metrics.listener("https"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gone(place: &mut Place) -> Option<Eviction> {
        place.evicted.as_mut().unwrap().try_recv().ok()
    }

    #[test]
    fn an_address_takes_its_own_longest_quiet_place() {
        let places = places(10, 2, 10);
        let now = Instant::now();
        let mut other = places.admit(ip("192.0.2.2"), now).unwrap();
        let mut first = places.admit(ip("192.0.2.1"), now).unwrap();
        let mut second = places.admit(ip("::ffff:192.0.2.1"), now).unwrap();
        let _third = places.admit(ip("192.0.2.1"), now).unwrap();
        assert_eq!(gone(&mut first), Some(Eviction::AtOnce));
        assert_eq!((gone(&mut second), gone(&mut other)), (None, None));
    }

    #[test]
    fn an_address_whose_places_are_all_busy_is_refused() {
        let places = places(10, 2, 10);
        let now = Instant::now();
        let held: Vec<_> =
            (0..2).map(|n| places.admit(ip(&format!("2001:db8::{n}")), now).unwrap()).collect();
        let _busy: Vec<_> = held.iter().map(|place| place.activity().begin()).collect();
        assert_eq!(places.admit(ip("2001:db8::9"), now).unwrap_err(), Refusal::Address);
        assert!(places.admit(ip("2001:db8:0:1::9"), now).is_ok());
    }

    #[test]
    fn trusted_proxies_have_no_limit_of_their_own() {
        let places = places(10, 1, 10);
        let now = Instant::now();
        let mut held: Vec<_> = (0..9).map(|_| places.admit(ip("10.1.2.3"), now).unwrap()).collect();
        assert!(held.iter_mut().all(|place| gone(place).is_none()));
    }

    #[test]
    fn unused_connections_have_a_share_and_take_it_from_each_other() {
        let places = places(10, 10, 2);
        let now = Instant::now();
        let mut used = places.admit(ip("192.0.2.1"), now).unwrap();
        drop(used.activity().begin());
        let mut silent: Vec<_> =
            (1..=4).map(|n| places.admit(ip(&format!("192.0.2.{n}")), now).unwrap()).collect();
        let gone: Vec<_> = silent.iter_mut().map(gone).collect();
        let at_once = Some(Eviction::AtOnce);
        assert_eq!(gone, [at_once, at_once, None, None]);
        assert_eq!(super::tests::gone(&mut used), None);
    }

    #[test]
    fn the_longest_idle_one_goes_gently_and_a_busy_one_stays() {
        let places = places(3, 3, 3);
        let now = Instant::now();
        let mut held: Vec<_> =
            (0..3).map(|_| places.admit(ip("192.0.2.1"), now).unwrap()).collect();
        let busy = held[0].activity().begin();
        for place in [&held[2], &held[1]] {
            drop(place.activity().begin());
        }
        let newcomer = places.admit(ip("192.0.2.2"), now).unwrap();
        let gone: Vec<_> = held.iter_mut().map(gone).collect();
        assert_eq!(gone, [None, None, Some(Eviction::Gently)]);
        drop(newcomer.activity().begin());
        drop(busy);
        let _another = places.admit(ip("192.0.2.3"), now + Duration::from_secs(9)).unwrap();
        assert!(super::tests::gone(&mut held[1]).is_some(), "idle before the first one");
    }

    #[test]
    fn an_upgraded_connection_is_never_quiet() {
        let places = places(1, 1, 1);
        let now = Instant::now();
        let place = places.admit(ip("192.0.2.1"), now).unwrap();
        let mut busy = place.activity().begin();
        busy.upgrade();
        drop(busy);
        assert_eq!(places.admit(ip("192.0.2.2"), now).unwrap_err(), Refusal::Full);
        drop(place);
        assert!(places.admit(ip("192.0.2.2"), now).is_ok());
    }

    #[test]
    fn places_come_back_however_a_connection_ends() {
        let places = places(2, 2, 2);
        let now = Instant::now();
        let evicted: Vec<_> =
            (0..50).map(|_| places.admit(ip("192.0.2.1"), now).unwrap()).collect();
        drop(evicted);
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let place = places.admit(ip("192.0.2.1"), now).unwrap();
                (place.activity().begin(), place)
            })
            .collect();
        assert!(places.admit(ip("192.0.2.1"), now).is_err());
        drop(busy);
        let state = places.state();
        assert!(state.connections.is_empty() && state.addresses.is_empty());
        assert!(state.quiet.is_empty() && state.unused.is_empty() && state.leaving == 0);
    }
}
