//! The pools of connections to the stores, and who waits in front of them.

use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::Counted;
use super::register::{counters, gauges, histograms};
use crate::error::{Error, Result};

/// Seconds that a caller waits for a place; the deadline of a call is 4 s.
const WAITS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 4.0];

/// Counters of all pools; cloning shares them.
#[derive(Debug, Clone)]
pub struct PoolsMetrics {
    waiting: IntGaugeVec,
    waits: HistogramVec,
    refusals: IntCounterVec,
}

impl PoolsMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            waiting: gauges(
                all,
                "natter_pool_waiting",
                "Calls that wait for a connection of a pool now.",
                "pool",
            )?,
            waits: histograms(
                all,
                "natter_pool_wait_seconds",
                "Time that calls waited for a connection, of those that had to wait.",
                "pool",
                &WAITS,
            )?,
            refusals: counters(
                all,
                "natter_pool_refusals_total",
                "Calls that got no connection: the queue was full, or the wait too long, or their \
                 caller went away.",
                &["pool", "reason"],
            )?,
        })
    }

    /// Counters that nobody reads, for commands that serve no metrics.
    ///
    /// # Errors
    /// When two have one name: a defect.
    pub fn unseen() -> Result<Self> {
        Self::new(&Registry::new()).map_err(Error::internal)
    }

    /// Counters of the pool of this name.
    #[must_use]
    pub fn pool(&self, name: &'static str) -> PoolMetrics {
        for reason in ["full", "late", "gone"] {
            self.refusals.with_label_values(&[name, reason]);
        }
        PoolMetrics {
            waiting: self.waiting.with_label_values(&[name]),
            waits: self.waits.with_label_values(&[name]),
            refusals: self.refusals.clone(),
            name,
        }
    }
}

/// Counters of one pool.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    waiting: IntGauge,
    waits: Histogram,
    refusals: IntCounterVec,
    name: &'static str,
}

/// A wait, measured until it is dropped.
#[derive(Debug)]
pub struct Wait {
    _counted: Counted,
    began: tokio::time::Instant,
    waits: Histogram,
}

impl PoolMetrics {
    /// Counts a call as waiting, until what this gives is dropped.
    #[must_use]
    pub fn waits(&self) -> Wait {
        Wait {
            _counted: Counted::by(&self.waiting),
            began: tokio::time::Instant::now(),
            waits: self.waits.clone(),
        }
    }

    /// Counts a call that got no place.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[self.name, reason]).inc();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.observe(self.began.elapsed().as_secs_f64());
    }
}
