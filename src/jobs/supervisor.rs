//! The supervisor: starts workers, restarts those that panic, and names those that are stuck.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::heartbeat::{Heartbeat, Pace};
use crate::lifecycle::Shutdown;
use crate::metrics::WorkerMetrics;

/// The pause before a worker is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often heartbeats are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// A worker, as the supervisor knows it.
#[derive(Debug)]
struct Worker {
    name: String,
    heartbeat: Heartbeat,
}

/// Starts and watches workers; clones share them.
#[derive(derive_more::Debug, Clone)]
#[debug("Supervisor")]
pub struct Supervisor {
    shutdown: Shutdown,
    metrics: WorkerMetrics,
    workers: Arc<Mutex<Vec<Arc<Worker>>>>,
}

impl Supervisor {
    /// A supervisor without workers. They, and it, end with the shutdown.
    #[must_use]
    pub fn new(shutdown: &Shutdown, metrics: &WorkerMetrics) -> Self {
        let this =
            Self { shutdown: shutdown.clone(), metrics: metrics.clone(), workers: Arc::default() };
        let watching = this.clone();
        shutdown.spawn(|stop| async move { watching.watch(stop).await });
        this
    }

    /// Starts a worker of this name, and again whenever it ends before it is told to stop. It must
    /// end soon after the token is cancelled.
    pub fn start<F, T>(&self, name: impl Into<String>, pace: Pace, work: F)
    where
        F: Fn(CancellationToken) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let worker = Arc::new(Worker { name: name.into(), heartbeat: Heartbeat::new(pace) });
        self.metrics.begin(&worker.name);
        self.workers.lock().push(worker.clone());
        let metrics = self.metrics.clone();
        self.shutdown.spawn(move |stop| async move {
            while !stop.is_cancelled() {
                let run = async { work(stop.clone()).await }.boxed();
                let run = AssertUnwindSafe(worker.heartbeat.watch(run));
                let outcome = run.catch_unwind().await;
                worker.heartbeat.rest();
                if stop.is_cancelled() {
                    return;
                }
                let reason = if outcome.is_err() { "panicked" } else { "ended" };
                let name = &worker.name;
                tracing::error!(
                    event = "worker_restarted",
                    worker = name,
                    reason,
                    "starting again"
                );
                metrics.restarted(&worker.name);
                tokio::select! {
                    () = sleep(RESTART_PAUSE) => {}
                    () = stop.cancelled() => {}
                }
            }
        });
    }

    /// Looks for stuck workers until told to stop.
    async fn watch(&self, stop: CancellationToken) {
        let mut stuck: Vec<String> = Vec::new();
        loop {
            tokio::select! {
                () = sleep(WATCH) => {}
                () = stop.cancelled() => return,
            }
            let workers = self.workers.lock().clone();
            for worker in workers {
                let was_stuck = stuck.contains(&worker.name);
                let is_stuck = worker.heartbeat.is_stuck(Instant::now());
                if is_stuck == was_stuck {
                    continue;
                }
                self.metrics.stuck(&worker.name, is_stuck);
                if is_stuck {
                    tracing::error!(
                        event = "worker_stuck",
                        worker = worker.name,
                        "no sign of life"
                    );
                    stuck.push(worker.name.clone());
                } else {
                    tracing::info!(event = "worker_recovered", worker = worker.name, "alive again");
                    stuck.retain(|name| *name != worker.name);
                }
            }
        }
    }
}
