//! Messages on their way to the store: one queue of an instance, and group commit.
//!
//! While a write is under way, the scheduler collects drafts of all shards, and sends them as the
//! next batch: an instance with much to write pays for one transaction, not one for each message.
//! Where drafts would wait for long, because there are many or the store is slow, it begins further
//! writes beside the first. A conversation is in one of them at a time, first in, first out: a
//! sender's order is kept, and the writes of an instance never conflict with each other.

mod known_keys;
mod scheduler;
mod writer;

use std::iter;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use self::known_keys::KnownKeys;
use self::scheduler::BatchScheduler;
use self::writer::Writer;
pub(super) use self::writer::{Plan, Snapshot};
use crate::domain::messages::{Draft, Sent};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::metrics::{Counted, MessageMetrics};
use crate::store::Repositories;

/// Drafts that may wait; further ones are 503.
const MAX_QUEUED_DRAFTS: usize = 1024;

/// How long a sender waits: the write before theirs may have waited for a store that does not
/// answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);

/// A draft and who waits for what becomes of it.
#[derive(Debug)]
struct Waiting {
    draft: Draft,
    answer: oneshot::Sender<Result<Sent>>,
    _queued: Counted,
    _place: OwnedSemaphorePermit,
}

/// The way into the queue.
#[derive(Debug, Clone)]
pub struct Outgoing {
    queue: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
    metrics: MessageMetrics,
}

/// What empties the queue into the writer, to be run as a task.
#[derive(Debug)]
pub struct Dispatch {
    /// Held by the task that empties it.
    queue: Mutex<mpsc::UnboundedReceiver<Waiting>>,
    writer: Writer,
    metrics: MessageMetrics,
}

impl Outgoing {
    /// A queue, and what empties it.
    #[must_use]
    pub fn new(repositories: &Repositories, metrics: &MessageMetrics) -> (Self, Dispatch) {
        let (entry, queue) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(MAX_QUEUED_DRAFTS));
        let queue = Mutex::new(queue);
        let dispatch =
            Dispatch { queue, writer: Writer::new(repositories), metrics: metrics.clone() };
        (Self { queue: entry, places, metrics: metrics.clone() }, dispatch)
    }

    /// Hands over a draft and waits for the outcome. A caller that stops waiting does not stop the
    /// write.
    ///
    /// # Errors
    /// [`Error::unavailable`] when the queue is full or is emptied no more: nothing is written
    /// then. The same when the outcome is late: the draft is then written whole or not at all.
    /// Otherwise the writer's.
    pub async fn send(&self, draft: Draft) -> Result<Sent> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Error::unavailable())?;
        let (answer, outcome) = oneshot::channel();
        let queued = self.metrics.queued();
        let waiting = Waiting { draft, answer, _queued: queued, _place: place };
        self.queue.send(waiting).map_err(|_| Error::unavailable())?;
        failpoint::reach("queue.entered");
        match timeout(SEND_TIMEOUT, outcome).await {
            Ok(outcome) => outcome.map_err(|_| Error::unavailable())?,
            Err(_) => Err(Error::unavailable().with_source("the writer did not answer in time")),
        }
    }
}

impl Dispatch {
    /// Writes what comes until told to stop, then what still waits.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Self { queue, writer, metrics } = &*self;
        let mut queue = queue.lock().await;
        let (mut line, mut writes) = (BatchScheduler::default(), FuturesUnordered::new());
        loop {
            while let Some((conversations, batch)) = line.next(writes.len(), Instant::now()) {
                let write = write(writer, metrics, batch);
                writes.push(async {
                    // Whoever waits for one that panics learns that nobody will answer; the
                    // others go on.
                    let _ = AssertUnwindSafe(write).catch_unwind().await;
                    conversations
                });
            }
            let turn = line.turn(writes.len());
            tokio::select! {
                biased;
                Some(ended) = writes.next() => line.ended(&ended, Instant::now()),
                Some(waiting) = queue.recv() => {
                    let others = iter::from_fn(|| queue.try_recv().ok());
                    for waiting in iter::once(waiting).chain(others) {
                        line.enter(waiting.draft.conversation(), waiting, Instant::now());
                    }
                }
                () = sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {}
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
                else => return,
            }
        }
    }
}

/// Writes a batch and answers each of its senders.
async fn write(writer: &Writer, metrics: &MessageMetrics, batch: Vec<Waiting>) {
    let (drafts, mut answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.draft, Some(waiting.answer))).unzip();
    metrics.batch(drafts.len());
    failpoint::reach("queue.taken");
    let answer = |place: usize, outcome| {
        failpoint::reach("queue.answer");
        if matches!(outcome, Ok(Sent::New(_))) {
            metrics.written();
        }
        // Whoever asked may have gone; what is written stays written.
        if let Some(answer) = answers[place].take() {
            let _ = answer.send(outcome);
        }
    };
    writer.write(drafts, answer).await;
}
