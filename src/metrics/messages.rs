//! Messages on their way to the store.

use prometheus::{Histogram, IntCounter, IntGauge, IntGaugeVec, Registry, exponential_buckets};

use super::Counted;
use super::register::{counter, gauges, histogram};

/// The messages of all shards.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    queued: IntGaugeVec,
    written: IntCounter,
    batches: Histogram,
}

impl Messages {
    pub fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            queued: gauges(
                all,
                "natter_messages_queued",
                "Messages that wait for their shard's writer now.",
                "shard",
            )?,
            written: counter(all, "natter_messages_written_total", "New messages stored.")?,
            batches: histogram(
                all,
                "natter_message_batch_size",
                "Messages, repeats included, that went to the store together.",
                exponential_buckets(1.0, 2.0, 8)?,
            )?,
        })
    }

    pub fn of(&self, shard: usize) -> ShardMetrics {
        ShardMetrics {
            queued: self.queued.with_label_values(&[shard.to_string().as_str()]),
            written: self.written.clone(),
            batches: self.batches.clone(),
        }
    }
}

/// Counts what goes through one message shard.
#[derive(Debug, Clone)]
pub struct ShardMetrics {
    queued: IntGauge,
    written: IntCounter,
    batches: Histogram,
}

impl ShardMetrics {
    /// Counts a message as waiting, until what this gives is dropped.
    #[must_use]
    pub fn queued(&self) -> Counted {
        Counted::by(&self.queued)
    }

    /// Notes how many messages are about to go to the store together.
    pub fn batch(&self, messages: usize) {
        self.batches.observe(u32::try_from(messages).unwrap_or(u32::MAX).into());
    }

    /// Counts a message that was stored.
    pub fn written(&self) {
        self.written.inc();
    }
}
