//! Delivered marks: what clients say has come to them, written down together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::unread::{Delivery, Unread};
use crate::domain::clock::Clock;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::Repositories;

/// How often natter writes delivery marks.
const WRITE_INTERVAL: Duration = Duration::from_millis(300);

/// Marks in one command.
const RECEIPT_BATCH: usize = 500;

/// Marks that may wait to be written. natter drops further ones: the client repeats its mark with the
/// next message, and reading implies it too.
const MAX_PENDING: usize = 100_000;

/// How many numbers of one user and conversation wait, the greatest: the first of them that is not
/// past the last message counts, so that a wrong one does not cover up one that is right.
const NUMBERS: usize = 4;

/// How often the last of an instance that stops are tried.
const LAST_TRIES: usize = 3;

/// The numbers of each user and conversation, the greatest first.
type Waiting = HashMap<(UserId, ConversationId), Vec<u64>>;

/// Delivered marks of this instance's clients.
#[derive(Debug)]
pub struct Deliveries {
    unread: Unread,
    clock: Clock,
    waiting: Mutex<Waiting>,
}

impl Deliveries {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(repositories: &Repositories, clock: &Clock) -> Self {
        let unread = Unread::new(&repositories.store);
        Self { unread, clock: clock.clone(), waiting: Mutex::default() }
    }

    /// Notes that everything up to a message has come to a user; whether there is such a message,
    /// and whether the user is in the conversation, is seen when it is written.
    pub fn note(&self, user: UserId, conversation: ConversationId, seq: u64) {
        put(&mut self.waiting(), Delivery { user, conversation, seqs: vec![seq] });
    }

    /// Writes, until told to stop; then what still waits.
    pub async fn run(&self, stop: CancellationToken) {
        let mut tick = interval(WRITE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            match self.write().await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(event = "deliveries_delayed", %error, "cannot write receipts");
                    }
                }
            }
        }
        for _ in 0..LAST_TRIES {
            if self.write().await.is_ok() {
                return;
            }
            sleep(WRITE_INTERVAL).await;
        }
    }

    /// Writes what waits. What is not written waits again.
    async fn write(&self) -> Result<()> {
        let mut waiting: Vec<Delivery> = std::mem::take(&mut *self.waiting())
            .into_iter()
            .map(|((user, conversation), seqs)| Delivery { user, conversation, seqs })
            .collect();
        while !waiting.is_empty() {
            let some = waiting.split_off(waiting.len().saturating_sub(RECEIPT_BATCH));
            if let Err(error) = self.unread.deliver(&some, self.clock.now()).await {
                let mut again = self.waiting();
                for delivery in waiting.into_iter().chain(some) {
                    put(&mut again, delivery);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

fn put(waiting: &mut Waiting, delivery: Delivery) {
    let is_full = waiting.len() >= MAX_PENDING;
    match waiting.entry((delivery.user, delivery.conversation)) {
        Entry::Occupied(mut entry) => {
            let seqs = entry.get_mut();
            seqs.extend(delivery.seqs);
            seqs.sort_unstable_by(|one, other| other.cmp(one));
            seqs.dedup();
            seqs.truncate(NUMBERS);
        }
        Entry::Vacant(entry) if !is_full => {
            entry.insert(delivery.seqs);
        }
        Entry::Vacant(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let (mut waiting, user) = (Waiting::new(), UserId::random());
        let conversation = ConversationId::direct(user, user);
        for seq in 1..100 {
            put(&mut waiting, Delivery { user, conversation, seqs: vec![seq, seq] });
        }
        assert_eq!(waiting[&(user, conversation)], [99, 98, 97, 96]);
        for _ in 0..=MAX_PENDING {
            let user = UserId::random();
            put(&mut waiting, Delivery { user, conversation, seqs: vec![1] });
        }
        assert_eq!(waiting.len(), MAX_PENDING);
        put(&mut waiting, Delivery { user, conversation, seqs: vec![100] });
        assert_eq!(waiting[&(user, conversation)][0], 100, "who waits already still may");
    }
}
