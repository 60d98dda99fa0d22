//! Connections, counted where they are accepted.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::Counted;
use super::register::{counters, gauges};

/// The connections of all listeners.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    open: IntGaugeVec,
    turned_away: IntCounterVec,
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
                "Connections closed at once because there were too many.",
                &["listener"],
            )?,
        })
    }

    pub fn of(&self, name: &'static str) -> ListenerMetrics {
        ListenerMetrics {
            open: self.open.with_label_values(&[name]),
            turned_away: self.turned_away.with_label_values(&[name]),
        }
    }
}

/// Counts the connections of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    open: IntGauge,
    turned_away: IntCounter,
}

impl ListenerMetrics {
    /// Counts a connection as open, until what this gives is dropped.
    #[must_use]
    pub fn open(&self) -> Counted {
        Counted::by(&self.open)
    }

    /// Counts a connection that found no place.
    pub fn turned_away(&self) {
        self.turned_away.inc();
    }
}
