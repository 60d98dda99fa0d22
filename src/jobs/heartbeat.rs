//! Signs of life of a worker: whenever it is polled, and whether a poll comes to its end.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
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
        *self.seen.lock() = seen;
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
    pub fn is_stuck(&self, now: Instant) -> bool {
        match (*self.seen.lock(), self.pace) {
            (Seen::Polled(since), _) => now.duration_since(since) > POLL,
            (Seen::Waiting(since), Pace::Regular) => now.duration_since(since) > SILENCE,
            (Seen::Waiting(_), Pace::OnDemand) | (Seen::Away, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(100);

    #[test]
    fn a_worker_that_is_never_woken_is_stuck_if_it_has_timers() {
        for (pace, is_stuck) in [(Pace::Regular, true), (Pace::OnDemand, false)] {
            let heartbeat = Heartbeat::new(pace);
            assert_eq!(heartbeat.watch(pending().boxed()).now_or_never(), None);
            let now = Instant::now();
            assert!(!heartbeat.is_stuck(now + SILENCE - MOMENT));
            assert_eq!(heartbeat.is_stuck(now + SILENCE + MOMENT), is_stuck);
        }
    }

    #[test]
    fn a_poll_that_does_not_end_is_stuck() {
        let (heartbeat, now) = (Heartbeat::new(Pace::OnDemand), Instant::now());
        heartbeat.note(Seen::Polled(now));
        assert!(!heartbeat.is_stuck(now + POLL));
        assert!(heartbeat.is_stuck(now + POLL + MOMENT));
        heartbeat.rest();
        assert!(!heartbeat.is_stuck(now + POLL + MOMENT));
    }
}
