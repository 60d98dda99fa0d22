//! The accept loop of one listener, and the limit on its connections.

use std::io;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::connection::{Connection, Protocols};
use super::driver::Ending;
use super::exchange::Application;
use super::places::{Place, Places, Refusal};
use super::pulse::Limits;
use super::socket::Lease;
use crate::metrics::ListenerMetrics;

/// Pause after a failed `accept`, doubled with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A listener and what its connections are served with.
pub(super) struct Port<S> {
    pub name: &'static str,
    pub listener: TcpListener,
    pub places: Arc<Places>,
    pub protocols: Arc<Protocols>,
    pub limits: Limits,
    pub service: S,
    pub ending: Ending,
    pub metrics: ListenerMetrics,
}

impl<S: Application> Port<S> {
    /// Accepts until the ending begins.
    ///
    /// A connection that finds no place is accepted and closed at once. Left in the backlog it
    /// would wait without an answer, and be served when its client has long given up: work for
    /// nobody just when there is too much of it. Closed, the client or its load balancer knows and
    /// goes elsewhere or backs off, and who comes after a place is free gets it.
    pub async fn run(mut self) {
        let (mut turned_away, mut evicted) = (Seldom::default(), Seldom::default());
        let mut backoff = Backoff::default();
        loop {
            let accepted = select! {
                biased;
                () = self.ending.closing.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff.pause = FIRST_PAUSE;
                    match self.places.admit(peer.ip(), Instant::now()) {
                        Ok(place) => {
                            self.note_eviction(&place, peer, &mut evicted);
                            self.begin(stream, peer, place);
                        }
                        Err(refusal) => self.turn_away(refusal, peer, &mut turned_away),
                    }
                }
                Err(error) if concerns_one_connection(&error) => {
                    debug!(event = "connection_lost", listener = self.name, %error, "connection lost");
                }
                Err(error) => {
                    let pause = backoff.fail(self.name, &error);
                    select! {
                        () = self.ending.closing.cancelled() => return,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn turn_away(&self, refusal: Refusal, peer: SocketAddr, turned_away: &mut Seldom) {
        let (listener, reason) = (self.name, refusal.name());
        self.metrics.turned_away(reason);
        if let Some(times) = turned_away.count(Instant::now()) {
            let addr = peer.ip().to_canonical();
            warn!(event = "connections_refused", listener, reason, %addr, times, "too many connections");
        }
    }

    fn note_eviction(&self, place: &Place, peer: SocketAddr, evicted: &mut Seldom) {
        let Some(pressure) = place.displaced() else { return };
        if let Some(times) = evicted.count(Instant::now()) {
            let (listener, reason, addr) = (self.name, pressure.name(), peer.ip().to_canonical());
            warn!(event = "connections_evicted", listener, reason, %addr, times, "quiet connections closed");
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(event = "connection_lost", listener = self.name, %error, "connection lost");
            return;
        }
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let connection = Connection {
            peer,
            protocols: Arc::clone(&self.protocols),
            limits: self.limits,
            service: self.service.clone(),
            activity: place.activity(),
            evicted: place.evicted(),
            lease: Lease::new(place, self.ending.tracker.token(), self.metrics.open()),
            ending: self.ending.clone(),
        };
        self.ending.tracker.spawn(connection.run(stream));
    }
}

/// The pauses of a listener that cannot accept: out of descriptors or memory, only time and
/// ending connections help.
struct Backoff {
    pause: Duration,
    failed: Seldom,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: FIRST_PAUSE, failed: Seldom::default() }
    }
}

impl Backoff {
    /// Notes a failure, and returns how long to wait.
    fn fail(&mut self, listener: &str, error: &io::Error) -> Duration {
        if let Some(times) = self.failed.count(Instant::now()) {
            warn!(event = "accept_failed", listener, times, %error, "cannot accept");
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Whether `accept` failed for the one connection it would have returned.
///
/// Linux reports errors already pending on the new socket this way (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut
    )
}

/// Counts what may happen thousands of times a second and is worth a line in each.
#[derive(Debug, Default)]
struct Seldom {
    since: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// Counts one, and returns the count since the last returned one if a second has passed.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.times += 1;
        let due =
            self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1));
        due.then(|| {
            self.since = Some(now);
            std::mem::take(&mut self.times)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_once_a_second_with_the_count() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.count(start), Some(1));
        assert_eq!(seldom.count(start + Duration::from_millis(10)), None);
        assert_eq!(seldom.count(start + Duration::from_millis(999)), None);
        assert_eq!(seldom.count(start + Duration::from_secs(1)), Some(3));
    }

    #[test]
    fn failures_in_a_row_pause_longer_up_to_a_second() {
        let mut backoff = Backoff::default();
        let error = io::Error::other("any");
        let pauses: Vec<_> = (0..9).map(|_| backoff.fail("https", &error)).collect();
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], FIRST_PAUSE * 2);
        assert_eq!(pauses[8], LONGEST_PAUSE);
    }

    #[test]
    fn running_out_of_descriptors_concerns_all_connections() {
        let (emfile, econnaborted) = (24, 103);
        assert!(!concerns_one_connection(&io::Error::from_raw_os_error(emfile)));
        assert!(concerns_one_connection(&io::Error::from_raw_os_error(econnaborted)));
    }
}
