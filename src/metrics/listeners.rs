//! Connections, counted where they are accepted.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::Counted;
use super::register::{counters, gauges};

/// The connections of all listeners.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    open: IntGaugeVec,
    turned_away: IntCounterVec,
    evicted: IntCounterVec,
}

impl Listeners {
    pub fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            open: gauges(
                all,
                "natter_connections_open",
                "Connections open now, handshakes and sockets included.",
                "listener",
            )?,
            turned_away: counters(
                all,
                "natter_connections_turned_away_total",
                "Connections closed at once, because all that were open were busy.",
                &["listener", "reason"],
            )?,
            evicted: counters(
                all,
                "natter_connections_evicted_total",
                "Quiet connections that gave their place to a newcomer.",
                &["listener", "reason"],
            )?,
        })
    }

    pub fn of(&self, name: &'static str) -> ListenerMetrics {
        // All are there from the start, so that a first one shows as a change.
        for reason in ["address", "full"] {
            self.turned_away.with_label_values(&[name, reason]);
        }
        for reason in ["address", "unused", "full"] {
            self.evicted.with_label_values(&[name, reason]);
        }
        ListenerMetrics {
            name,
            open: self.open.with_label_values(&[name]),
            turned_away: self.turned_away.clone(),
            evicted: self.evicted.clone(),
        }
    }
}

/// Counts the connections of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    name: &'static str,
    open: IntGauge,
    turned_away: IntCounterVec,
    evicted: IntCounterVec,
}

impl ListenerMetrics {
    /// Counts a connection as open, until what this gives is dropped.
    #[must_use]
    pub fn open(&self) -> Counted {
        Counted::by(&self.open)
    }

    /// Counts a connection that found no place, and why.
    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.with_label_values(&[self.name, reason]).inc();
    }

    /// Counts a connection whose place a newcomer took, and which limit that one met.
    pub fn evicted(&self, reason: &'static str) {
        self.evicted.with_label_values(&[self.name, reason]).inc();
    }
}
