//! Messages on their way to the store.

use prometheus::{Histogram, IntCounter, IntGauge, Registry, exponential_buckets};

use super::Counted;
use super::register::{counter, gauge, histogram};

/// Counts what goes through the queue of messages; cloning shares it.
#[derive(Debug, Clone)]
pub struct MessageMetrics {
    queued: IntGauge,
    written: IntCounter,
    batches: Histogram,
}

impl MessageMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            queued: gauge(all, "natter_messages_queued", "Messages that wait to be written now.")?,
            written: counter(all, "natter_messages_written_total", "New messages stored.")?,
            batches: histogram(
                all,
                "natter_message_batch_size",
                "Messages, repeats included, that went to the store together.",
                exponential_buckets(1.0, 2.0, 8)?,
            )?,
        })
    }

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
