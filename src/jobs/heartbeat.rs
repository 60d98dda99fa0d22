//! Signs of life of a worker: whenever it is polled, and whether a poll comes to its end.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// How long a worker with timers of its own may be silent: none of them waits for longer.
const SILENCE: Duration = Duration::from_mins(3);

/// How long one poll may take; a longer one holds a thread of the runtime.
const POLL: Duration = Duration::from_secs(10);

/// How often a worker gives signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Every few minutes at least, as it has timers.
    Regular,
    /// Only when there is something to do.
    OnDemand,
}

/// When a worker was last seen, and in what.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// It waits since then.
    Waiting(Instant),
    /// It computes since then.
    Polled(Instant),
    /// It does not run.
    Away,
}

/// The signs of life of one worker.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pace: Pace,
    seen: Mutex<Seen>,
}

impl Heartbeat {
    pub fn new(pace: Pace) -> Self {
        Self { pace, seen: Mutex::new(Seen::Away) }
    }

    fn note(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Runs a worker, noting its signs of life.
    pub async fn watch(&self, mut work: BoxFuture<'_, ()>) {
        poll_fn(|context| {
            self.note(Seen::Polled(Instant::now()));
            let poll = work.as_mut().poll(context);
            self.note(Seen::Waiting(Instant::now()));
            poll
        })
        .await;
    }

    /// The worker does not run now.
    pub fn rest(&self) {
        self.note(Seen::Away);
    }

    /// Whether there was no sign of life for too long.
    pub fn is_stuck(&self) -> bool {
        match (*self.seen.lock().unwrap_or_else(PoisonError::into_inner), self.pace) {
            (Seen::Polled(since), _) => since.elapsed() > POLL,
            (Seen::Waiting(since), Pace::Regular) => since.elapsed() > SILENCE,
            (Seen::Waiting(_), Pace::OnDemand) | (Seen::Away, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;

    async fn after(pace: Pace, time: Duration) -> bool {
        let heartbeat = Arc::new(Heartbeat::new(pace));
        let watched = heartbeat.clone();
        let worker = tokio::spawn(async move { watched.watch(Box::pin(pending())).await });
        tokio::task::yield_now().await;
        advance(time).await;
        worker.abort();
        heartbeat.is_stuck()
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_never_woken_is_stuck_if_it_has_timers() {
        assert!(!after(Pace::Regular, SILENCE).await);
        assert!(after(Pace::Regular, SILENCE + POLL).await);
        assert!(!after(Pace::OnDemand, SILENCE + POLL).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_does_not_end_is_stuck() {
        let heartbeat = Heartbeat::new(Pace::OnDemand);
        heartbeat.note(Seen::Polled(Instant::now()));
        assert!(!heartbeat.is_stuck());
        advance(POLL + Duration::from_millis(1)).await;
        assert!(heartbeat.is_stuck());
        heartbeat.rest();
        assert!(!heartbeat.is_stuck());
    }
}
