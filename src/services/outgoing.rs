//! Messages on their way to the writer: one queue and one writer per shard, group commit.
//!
//! What waits while a write is under way goes out as the next batch, so that a busy shard pays
//! for one transaction, not one per message. First in, first out: each sender's order is kept.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::domain::messages::{Draft, Sent};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::metrics::{Counted, Metrics, ShardMetrics};
use crate::repositories::messages::shard_of;
use crate::repositories::writer::Writer;

/// How many drafts may wait at each shard; past that, senders are told to come back.
const WAITING: usize = 1024;

/// How many drafts go out together; 128 of the longest texts stay far from MongoDB's 16 MiB.
const BATCH: usize = 128;

/// How long a sender waits: a batch before theirs may already have waited for a store that does
/// not answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A draft and who waits for what becomes of it.
#[derive(Debug)]
struct Waiting {
    draft: Draft,
    answer: oneshot::Sender<Result<Sent>>,
    _queued: Counted,
}

/// The queues in front of the writers.
#[derive(Debug, Clone)]
pub struct Outgoing {
    shards: Vec<Shard>,
}

/// The way into one queue.
#[derive(Debug, Clone)]
struct Shard {
    queue: mpsc::Sender<Waiting>,
    metrics: ShardMetrics,
}

/// The one writer of a shard, to be run as a task.
#[derive(Debug)]
pub struct ShardWriter {
    writer: Writer,
    queue: mpsc::Receiver<Waiting>,
    metrics: ShardMetrics,
}

impl Outgoing {
    /// The queues of so many shards, and their writers.
    #[must_use]
    pub fn new(writer: &Writer, shards: usize, metrics: &Metrics) -> (Self, Vec<ShardWriter>) {
        let pairs = (0..shards).map(|number| {
            let (entry, queue) = mpsc::channel(WAITING);
            let metrics = metrics.shard(number);
            let shard = Shard { queue: entry, metrics: metrics.clone() };
            (shard, ShardWriter { writer: writer.clone(), queue, metrics })
        });
        let (shards, writers) = pairs.unzip();
        (Self { shards }, writers)
    }

    /// Hands a draft to its shard's writer and waits for the outcome. A caller that stops waiting
    /// does not stop the write.
    ///
    /// # Errors
    /// [`Error::unavailable`] when the queue is full or the writers have stopped: nothing is
    /// written then. The same when the outcome is late: the draft is then written whole or not at
    /// all. Otherwise the writer's.
    pub async fn send(&self, draft: Draft) -> Result<Sent> {
        let shard = &self.shards[shard_of(draft.conversation(), self.shards.len())];
        let (answer, outcome) = oneshot::channel();
        let waiting = Waiting { draft, answer, _queued: shard.metrics.queued() };
        shard.queue.try_send(waiting).map_err(|_| Error::unavailable())?;
        failpoint::reach("queue.entered");
        match timeout(PATIENCE, outcome).await {
            Ok(outcome) => outcome.map_err(|_| Error::unavailable())?,
            Err(_) => Err(Error::unavailable().with_source("the writer did not answer in time")),
        }
    }
}

impl ShardWriter {
    /// Writes batches until told to stop, then what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                read = self.queue.recv_many(&mut batch, BATCH) => {
                    if read == 0 {
                        return;
                    }
                    self.write(&mut batch).await;
                }
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
    }

    async fn write(&self, batch: &mut Vec<Waiting>) {
        let (drafts, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|waiting| (waiting.draft, waiting.answer)).unzip();
        self.metrics.batch(drafts.len());
        failpoint::reach("queue.taken");
        let outcomes = self.writer.write(drafts).await;
        failpoint::reach("queue.answer");
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            if matches!(outcome, Ok(Sent::New(_))) {
                self.metrics.written();
            }
            // Whoever asked may have gone; what is written stays written.
            let _ = answer.send(outcome);
        }
    }
}
