//! Signals, the phases of a stop, and the tasks that a stop waits for.
//!
//! A stop runs through four phases, each a token that stays cancelled once it is:
//!
//! 1. *draining*: readiness turns false, everything else goes on;
//! 2. *closing*, after [`Drain::delay`]: listeners close, requests under way finish;
//! 3. *stopping*, when the server has drained: background tasks finish what they hold;
//! 4. *hard*, [`Drain::limit`] after *closing*, or at the second signal: what is left is dropped.
//!
//! Background tasks outlive the requests on purpose: a request under way may still wait for a
//! writer or queue a mail.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long the phases of a stop may take.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Between readiness turning false and the listeners closing, for load balancers to notice.
    pub delay: Duration,
    /// Between the listeners closing and everything left being dropped.
    pub limit: Duration,
}

/// The handle by which the parts of the process learn of a stop, and ask for one.
///
/// Clones share their state.
#[derive(Debug, Clone)]
pub struct Shutdown {
    drain: Drain,
    begun: Arc<AtomicBool>,
    draining: CancellationToken,
    closing: CancellationToken,
    stopping: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    reload: Arc<Notify>,
}

impl Shutdown {
    /// A process that is up, and stays so until [`begin`](Self::begin).
    #[must_use]
    pub fn new(drain: Drain) -> Self {
        let hard = CancellationToken::new();
        // The hard end includes every gentler one.
        Self {
            drain,
            begun: Arc::default(),
            draining: hard.child_token(),
            closing: hard.child_token(),
            stopping: hard.child_token(),
            hard,
            tracker: TaskTracker::new(),
            reload: Arc::default(),
        }
    }

    /// Begins the stop; calls after the first change nothing.
    ///
    /// Must be called within a tokio runtime, which keeps the deadlines.
    pub fn begin(&self) {
        if self.begun.swap(true, Ordering::SeqCst) {
            return;
        }
        self.draining.cancel();
        let this = self.clone();
        tokio::spawn(async move {
            select! {
                () = sleep(this.drain.delay) => this.closing.cancel(),
                () = this.hard.cancelled() => return,
            }
            select! {
                () = sleep(this.drain.limit) => this.abort(),
                () = this.hard.cancelled() => {}
            }
        });
    }

    /// Ends all phases at once: what is under way is dropped.
    pub fn abort(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.hard.cancel();
    }

    /// Whether a stop has begun, so that `/readyz` must answer 503.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// How long what is under way has from the beginning of *closing* to its end.
    #[must_use]
    pub fn time_to_leave(&self) -> Duration {
        self.drain.limit
    }

    /// The phase in which readiness is false and all else goes on.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// The phase in which nothing new is accepted; sockets say goodbye and end.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// The phase in which no request is left and background tasks end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The end of all patience.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Starts a background task that [`finish`](Self::finish) waits for.
    ///
    /// The task gets the *stopping* token, must end soon after it is cancelled, and is left to
    /// itself if it does not end before the hard end.
    pub fn spawn<F, T>(&self, task: F)
    where
        F: FnOnce(CancellationToken) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task(self.stopping.clone()));
    }

    /// Stops the background tasks and waits for them, until the hard end at most.
    ///
    /// To be called when the server has drained; begins the stop if nobody has.
    pub async fn finish(&self) {
        self.begin();
        self.stopping.cancel();
        self.tracker.close();
        select! {
            biased;
            () = self.tracker.wait() => info!(event = "shutdown_finished", "stopped"),
            () = self.hard.cancelled() => {
                warn!(event = "shutdown_finished", tasks = self.tracker.len(), "stopped with running tasks");
            }
        }
    }

    /// Waits until files that may be re-read are asked to be (SIGHUP).
    pub async fn reload_asked(&self) {
        self.reload.notified().await;
    }

    /// Asks for files to be re-read, as SIGHUP does.
    pub fn ask_reload(&self) {
        self.reload.notify_one();
    }

    /// Handles this process's signals from now on.
    ///
    /// The first SIGTERM or SIGINT begins the stop, the second ends it at once; SIGHUP asks for
    /// files to be re-read.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen_for_signals(&self) -> io::Result<()> {
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(name) = signals.next().await {
                this.take(name);
            }
        });
        Ok(())
    }

    fn take(&self, signal: &'static str) {
        if signal == HANGUP {
            self.ask_reload();
        } else if self.is_draining() {
            warn!(event = "shutdown_forced", signal, "stopping at once");
            self.abort();
        } else {
            info!(event = "shutdown_started", signal, "stopping");
            self.begin();
        }
    }
}

const HANGUP: &str = "SIGHUP";

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    async fn next(&mut self) -> Option<&'static str> {
        select! {
            got = self.terminate.recv() => got.map(|()| "SIGTERM"),
            got = self.interrupt.recv() => got.map(|()| "SIGINT"),
            got = self.hangup.recv() => got.map(|()| HANGUP),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shutdown(delay: u64, limit: u64) -> Shutdown {
        Shutdown::new(Drain {
            delay: Duration::from_millis(delay),
            limit: Duration::from_millis(limit),
        })
    }

    #[tokio::test]
    async fn phases_follow_one_another() {
        let shutdown = shutdown(50, 60_000);
        shutdown.begin();
        assert!(shutdown.is_draining());
        assert!(!shutdown.closing().is_cancelled());
        timeout(SOON, shutdown.closing().cancelled()).await.unwrap();
        assert!(!shutdown.stopping().is_cancelled());
        assert!(!shutdown.hard().is_cancelled());
    }

    #[tokio::test]
    async fn deadline_ends_everything() {
        let shutdown = shutdown(0, 50);
        shutdown.begin();
        timeout(SOON, shutdown.hard().cancelled()).await.unwrap();
        assert!(shutdown.stopping().is_cancelled());
    }

    #[tokio::test]
    async fn second_signal_ends_at_once() {
        let shutdown = shutdown(60_000, 60_000);
        shutdown.take("SIGTERM");
        assert!(shutdown.is_draining());
        assert!(!shutdown.hard().is_cancelled());
        shutdown.take("SIGINT");
        assert!(shutdown.hard().is_cancelled());
        assert!(shutdown.closing().is_cancelled());
    }

    #[tokio::test]
    async fn hangup_asks_for_a_reload_and_nothing_else() {
        let shutdown = shutdown(0, 0);
        shutdown.take(HANGUP);
        timeout(SOON, shutdown.reload_asked()).await.unwrap();
        assert!(!shutdown.is_draining());
    }

    #[tokio::test]
    async fn finish_stops_and_waits_for_background_tasks() {
        let shutdown = shutdown(0, 60_000);
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        shutdown.spawn(|stop| async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            flag.store(true, Ordering::SeqCst);
        });
        timeout(SOON, shutdown.finish()).await.unwrap();
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn finish_leaves_a_stubborn_task_at_the_deadline() {
        let shutdown = shutdown(0, 50);
        shutdown.spawn(|_| std::future::pending());
        timeout(SOON, shutdown.finish()).await.unwrap();
        assert!(shutdown.hard().is_cancelled());
    }
}
