//! Background work: one kernel for jobs, and the supervisor of all workers.
//!
//! A job is one file that implements [`Job`](crate::domain::jobs::Job) and one line in a
//! [`Registry`]. It is enqueued in the transaction of what it follows from
//! (`tx.jobs().enqueue(…)`). The kernel does the rest: claiming under a fence, leases, retries,
//! dead letters, order, metrics, stopping. Every kind has workers of its own, so that a slow kind
//! delays no other.

mod heartbeat;
mod registry;
mod supervisor;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::heartbeat::Pace;
pub use self::registry::Registry;
pub use self::supervisor::Supervisor;
use self::worker::{LEASE, Lanes, Worker};
use crate::domain::clock::{CLOCK_TOLERANCE, Clock};
use crate::error::Result;
use crate::metrics::JobMetrics;
use crate::store::Store;

/// How often jobs are counted, and those that a clock set back has delayed are made due.
const CENSUS: Duration = Duration::from_secs(10);

/// Everything that workers share.
struct Kernel<D> {
    store: Store,
    clock: Clock,
    deps: D,
    registry: Registry<D>,
    metrics: JobMetrics,
}

/// Starts the workers of every kind of a registry; `deps` is what their jobs work with.
pub fn start<D: Send + Sync + 'static>(
    registry: Registry<D>,
    deps: D,
    store: &Store,
    clock: &Clock,
    metrics: &JobMetrics,
    supervisor: &Supervisor,
) {
    let (store, clock, metrics) = (store.clone(), clock.clone(), metrics.clone());
    let kernel = Arc::new(Kernel { store, clock, deps, registry, metrics });
    for (place, kind) in kernel.registry.kinds.iter().enumerate() {
        kernel.metrics.begin(kind.name);
        let lanes = Arc::new(Lanes::new(kernel.store.wakes().of(kind.name)));
        for lane in 0..kind.concurrency {
            let worker = Arc::new(Worker::new(&kernel, place, &lanes));
            supervisor.start(format!("{}-{lane}", kind.name), Pace::Regular, move |stop| {
                worker.clone().run(stop)
            });
        }
    }
    supervisor.start("job_census", Pace::Regular, move |stop| census(kernel.clone(), stop));
}

/// Counts jobs until told to stop.
async fn census<D: Send + Sync + 'static>(kernel: Arc<Kernel<D>>, stop: CancellationToken) {
    let mut has_failed = false;
    loop {
        match kernel.take_census().await {
            Ok(()) => has_failed = false,
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                tracing::warn!(event = "job_census_failed", %error, "cannot count jobs");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(CENSUS) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl<D> Kernel<D> {
    async fn take_census(&self) -> Result<()> {
        for kind in &self.registry.kinds {
            let now = self.clock.now();
            let longest = kind.retry.longest_wait.max(kind.every.unwrap_or_default()).max(LEASE);
            let latest = now.plus(longest).plus(CLOCK_TOLERANCE);
            if self.store.jobs().recover(kind.name, latest, now).await? > 0 {
                self.store.wakes().of(kind.name).notify_one();
            }
        }
        let kinds: Vec<&str> = self.registry.kinds.iter().map(|kind| kind.name).collect();
        let counts = self.store.jobs().count(&kinds).await?;
        self.metrics.counted(kinds, &counts, self.clock.now());
        Ok(())
    }
}
