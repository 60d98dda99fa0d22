//! How Redis does, as this instance sees it.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register::{counter, gauge};

/// Counts what becomes of questions to Redis.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    away: IntGauge,
    failures: IntCounter,
}

impl RedisMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            away: gauge(all, "natter_redis_away", "1 if Redis did not answer when last asked.")?,
            failures: counter(
                all,
                "natter_redis_failures_total",
                "Times that Redis could not be reached, or did not answer in time.",
            )?,
        })
    }

    /// Notes that it answered when asked, even if by an error; or that it did not.
    pub fn asked(&self, answered: bool) {
        self.away.set(i64::from(!answered));
        if !answered {
            self.failures.inc();
        }
    }
}
