//! Sockets, and how what happens gets to them.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use super::Counted;
use super::register::{counter, counters, gauge, histogram};

/// Bounds of delays, in seconds.
const DELAYS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The codes with which sockets are closed.
const CODES: [&str; 9] = ["1001", "1002", "1007", "1009", "4400", "4401", "4408", "4413", "4429"];

/// Counts what is told to whom.
#[derive(Debug, Clone)]
pub struct RealtimeMetrics {
    connections: IntGauge,
    closed: IntCounterVec,
    relays: IntGauge,
    relayed: IntCounter,
    delays: Histogram,
    missed: IntCounter,
}

impl RealtimeMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        let closed = counters(
            all,
            "natter_sockets_closed_total",
            "Sockets closed by this instance.",
            &["code"],
        )?;
        // All are there from the start, so that a first one shows as a change.
        for code in CODES {
            closed.with_label_values(&[code]);
        }
        Ok(Self {
            closed,
            connections: gauge(all, "natter_sockets_open", "Sockets and event streams open now.")?,
            relays: gauge(all, "natter_relay_held", "1 while this instance relays for all.")?,
            relayed: counter(all, "natter_events_relayed_total", "Events written to logs.")?,
            delays: histogram(
                all,
                "natter_event_delay_seconds",
                "From when an event happened until it was in all logs.",
                DELAYS.to_vec(),
            )?,
            missed: counter(
                all,
                "natter_events_missed_total",
                "Users sent away because an event may have been missed.",
            )?,
        })
    }

    /// Counts a connection as open, until what this gives is dropped.
    #[must_use]
    pub fn connected(&self) -> Counted {
        Counted::by(&self.connections)
    }

    /// Counts a connection that is closed with this code.
    pub fn closed(&self, code: u16) {
        self.closed.with_label_values(&[code.to_string().as_str()]).inc();
    }

    /// Counts the relay as held, until what this gives is dropped.
    #[must_use]
    pub fn relaying(&self) -> Counted {
        Counted::by(&self.relays)
    }

    /// Counts an event that is in all logs, so long after it happened.
    pub fn relayed(&self, delay: Duration) {
        self.relayed.inc();
        self.delays.observe(delay.as_secs_f64());
    }

    /// Counts a user who may have missed something.
    pub fn missed(&self) {
        self.missed.inc();
    }
}
