//! The indexer: makes messages found, behind their writers.
//!
//! One instance at a time does it, under a lease. A crash leaves markers, and the next holder goes
//! on with them. It goes through one bounded batch after the other and rests between them: where
//! more is sent than it can take up, it falls behind rather than slow the sends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::MessageId;
use crate::domain::words::hashes_of;
use crate::error::Result;
use crate::store::Repositories;
use crate::store::indexing::{Again, Batch, Indexed, Indexing, Lease, Marker};

/// Most changes of one batch …
const BATCH: usize = 256;

/// … and about as many words: each is an index entry.
const WORDS: usize = 20_000;

/// How often the holder of the lease looks for changes.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often other instances try to take the lease, and its holder renews it.
const LEASE_INTERVAL: Duration = Duration::from_secs(1);

/// How much later than others a marker of the same time may appear: it is written by a
/// transaction, on a machine with a clock of its own. The store passes over the places of removed
/// markers only slowly, so that not every look begins with the first …
const LATE: Duration = Duration::from_secs(15);

/// … but one in this time does, and finds what came even later.
const SWEEP: Duration = Duration::from_secs(5);

/// Fills the index of words.
#[derive(Debug)]
pub struct Indexer {
    rows: Indexing,
    clock: Clock,
}

/// The lease, held, and how far the work is.
#[derive(Debug)]
struct Turn {
    lease: Lease,
    renewed: Instant,
    swept: Option<Instant>,
    /// When the last change was made that is done.
    done: Timestamp,
}

impl Turn {
    /// From when on to look for changes.
    fn from(&mut self) -> Timestamp {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEEP) {
            return self.done.minus(LATE);
        }
        self.swept = Some(Instant::now());
        Timestamp::from_millis(0)
    }
}

impl Indexer {
    /// The indexer of these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories, clock: &Clock) -> Self {
        Self { rows: repositories.indexing.clone(), clock: clock.clone() }
    }

    /// Indexes messages until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut turn, mut fails) = (None, false);
        while !stop.is_cancelled() {
            let rest = match self.step(&mut turn).await {
                Ok(rest) => {
                    fails = false;
                    rest
                }
                Err(error) => {
                    if !fails {
                        tracing::warn!(event = "indexing_delayed", %error, "cannot index messages");
                    }
                    fails = true;
                    LEASE_INTERVAL
                }
            };
            tokio::select! {
                () = sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Some(Turn { lease, .. }) = turn {
            // Where this fails, its end comes soon enough.
            let _ = self.rows.give_back(lease).await;
        }
    }

    /// Does what there is to do, once; says how long to rest.
    async fn step(&self, held: &mut Option<Turn>) -> Result<Duration> {
        let now = self.clock.now();
        let Some(turn) = self.turn(held, now).await? else { return Ok(LEASE_INTERVAL) };
        let began = Instant::now();
        let waiting = self.rows.waiting(turn.from(), BATCH).await?;
        if waiting.len() < BATCH
            && let Some(again) = turn.lease.again
        {
            if !self.again(turn, again, now).await? {
                *held = None;
                return Ok(LEASE_INTERVAL);
            }
            if waiting.is_empty() {
                return Ok(began.elapsed() / 2);
            }
        } else if waiting.is_empty() {
            return Ok(POLL_INTERVAL);
        }
        let found = waiting.len();
        let batch = self.read(waiting).await?;
        let (lease, taken) = (turn.lease, batch.markers.len());
        let done = batch.markers.last().map(Marker::at);
        if !self.rows.write(lease, batch, now).await? {
            *held = None;
            return Ok(LEASE_INTERVAL);
        }
        turn.renewed = Instant::now();
        turn.done = done.unwrap_or(turn.done).max(turn.done);
        Ok(if found == BATCH || taken < found { began.elapsed() / 2 } else { POLL_INTERVAL })
    }

    /// The lease, taken if nobody has it, and renewed from time to time.
    async fn turn<'a>(
        &self,
        held: &'a mut Option<Turn>,
        now: Timestamp,
    ) -> Result<Option<&'a mut Turn>> {
        match held {
            Some(turn) if turn.renewed.elapsed() < LEASE_INTERVAL => {}
            Some(turn) => {
                turn.renewed = Instant::now();
                if !self.rows.renew(turn.lease, now).await? {
                    *held = None;
                }
            }
            None => {
                let (renewed, done) = (Instant::now(), Timestamp::from_millis(0));
                *held = self.rows.take(now).await?.map(|lease| Turn {
                    lease,
                    renewed,
                    swept: None,
                    done,
                });
            }
        }
        Ok(held.as_mut())
    }

    /// Indexes some messages anew, whose terms were made in an older way; whether the lease still
    /// stood. What is changed meanwhile leaves a marker, which is taken up after this.
    async fn again(&self, turn: &mut Turn, from: Again, now: Timestamp) -> Result<bool> {
        let (texts, mut next) = self.rows.from(from, BATCH).await?;
        let (mut batch, mut words) = (Batch::default(), 0);
        for text in texts {
            let (message, found) = (text.message, hashes_of(&text.text));
            words += found.len();
            if found.is_empty() {
                batch.gone.push(message);
            } else {
                batch.found.push(Indexed { message, at: text.at, words: found });
            }
            if words >= WORDS {
                next = from.after(message);
                break;
            }
            tokio::task::yield_now().await;
        }
        batch.again = Some(next);
        let stood = self.rows.write(turn.lease, batch, now).await?;
        turn.renewed = Instant::now();
        turn.lease.again = Some(next).filter(|next| !self.rows.is_past(*next));
        if turn.lease.again.is_none() {
            tracing::info!(event = "messages_indexed_again", "every message is indexed anew");
        }
        Ok(stood)
    }

    /// What is to be written for these changes, or for the first of them, if they are long.
    async fn read(&self, waiting: Vec<Marker>) -> Result<Batch> {
        let messages: Vec<MessageId> = waiting.iter().map(Marker::message).collect();
        let texts = self.rows.texts(messages).await?;
        let (mut batch, mut seen, mut words) = (Batch::default(), HashSet::new(), 0);
        for marker in waiting {
            let message = marker.message();
            batch.markers.push(marker);
            if !seen.insert(message) {
                continue;
            }
            match texts.get(&message).map(|text| (hashes_of(&text.text), text.at)) {
                Some((found, at)) if !found.is_empty() => {
                    words += found.len();
                    batch.found.push(Indexed { message, at, words: found });
                }
                _ => batch.gone.push(message),
            }
            if words >= WORDS {
                break;
            }
            // Requests go first.
            tokio::task::yield_now().await;
        }
        Ok(batch)
    }
}
