//! A worker: claims one job of its kind after the other, runs it, and settles what became of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Kernel;
use super::registry::Kind;
use crate::domain::clock::random_bytes;
use crate::domain::jobs::{JobError, Outcome, Progress};
use crate::error::Result;
use crate::metrics::RunOutcome;
use crate::store::Tx;
use crate::store::rows::jobs::{Claim, Later};

/// How often the store is asked for jobs that other instances have enqueued, or that are due.
const POLL: Duration = Duration::from_secs(2);

/// How long a job is left to an instance that gives no sign of life.
pub(super) const LEASE: Duration = Duration::from_mins(1);

/// How often the lease of a job that runs is renewed.
const RENEWAL: Duration = Duration::from_secs(20);

/// How much of the reason of a failure is kept, in characters.
const REASON_LENGTH: usize = 300;

/// The state that the workers of one kind share.
pub(super) struct Lanes {
    woken: Arc<Notify>,
    /// When one of them last looked for jobs.
    looked: Mutex<Instant>,
}

impl Lanes {
    pub fn new(woken: Arc<Notify>) -> Self {
        Self { woken, looked: Mutex::new(Instant::now()) }
    }

    fn looked(&self) -> MutexGuard<'_, Instant> {
        self.looked.lock()
    }
}

/// One lane of a kind.
pub(super) struct Worker<D> {
    kernel: Arc<Kernel<D>>,
    /// The place of its kind in the registry.
    kind: usize,
    lanes: Arc<Lanes>,
}

impl<D: Send + Sync + 'static> Worker<D> {
    pub fn new(kernel: &Arc<Kernel<D>>, kind: usize, lanes: &Arc<Lanes>) -> Self {
        Self { kernel: kernel.clone(), kind, lanes: lanes.clone() }
    }

    fn kind(&self) -> &Kind<D> {
        &self.kernel.registry.kinds[self.kind]
    }

    /// Runs jobs until told to stop; the one in hand is finished.
    ///
    /// One lane looks for jobs every [`POLL`], whichever is free. Each that finds one wakes the
    /// next, as there may be more.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut has_begun, mut has_failed) = (false, false);
        let mut may_look = true;
        while !stop.is_cancelled() {
            if may_look {
                *self.lanes.looked() = Instant::now();
                match self.step(&mut has_begun).await {
                    Ok(true) => {
                        has_failed = false;
                        continue;
                    }
                    Ok(false) => has_failed = false,
                    Err(error) if !std::mem::replace(&mut has_failed, true) => {
                        let kind = self.kind().name;
                        tracing::warn!(event = "jobs_unavailable", kind, %error, "cannot claim jobs");
                    }
                    Err(_) => {}
                }
            }
            may_look = tokio::select! {
                () = self.lanes.woken.notified() => true,
                () = sleep(POLL) => self.lanes.looked().elapsed() > POLL / 2,
                () = stop.cancelled() => return,
            };
        }
    }

    /// Claims a job and runs it; whether there was one.
    async fn step(&self, has_begun: &mut bool) -> Result<bool> {
        let Kernel { store, clock, .. } = &*self.kernel;
        let now = clock.now();
        if let (Some(begin), false) = (self.kind().begin, *has_begun) {
            begin(store, now).await?;
        }
        *has_begun = true;
        let claim = store.jobs().claim(self.kind().name, now, now.plus(LEASE)).await?;
        let Some(claim) = claim else { return Ok(false) };
        self.lanes.woken.notify_one();
        let began = Instant::now();
        let outcome = self.run_claimed(&claim).await?;
        self.kernel.metrics.ran(self.kind().name, outcome, began.elapsed());
        Ok(true)
    }

    /// Runs a claimed job and settles it.
    async fn run_claimed(&self, claim: &Claim) -> Result<RunOutcome> {
        let (kind, id, attempts) = (self.kind(), claim.attempt.id, claim.attempt.number);
        let now = self.kernel.clock.now();
        if claim.attempt.expires_at.is_some_and(|end| end <= now) {
            tracing::warn!(event = "job_expired", kind = kind.name, %id, attempts, "job expired");
            return self.remove(claim).await.map(|is_ours| if_ours(is_ours, RunOutcome::Expired));
        }
        // Its last run ended with the process.
        if kind.retry.attempts.is_some_and(|most| attempts > most) {
            return self.bury(claim, "no run came to its end").await;
        }
        let Some(outcome) = self.run_while_ours(claim).await else {
            tracing::warn!(event = "job_lost", kind = kind.name, %id, attempts, "job taken over");
            return Ok(RunOutcome::Lost);
        };
        self.settle(claim, outcome).await
    }

    /// Runs a job, renewing its lease; `None` once another instance has it.
    async fn run_while_ours(&self, claim: &Claim) -> Option<Outcome> {
        let limit = self.kind().time_limit;
        let run = AssertUnwindSafe((self.kind().run)(&self.kernel.deps, claim)).catch_unwind();
        let run = async {
            match timeout(limit, run).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(JobError::passing("the run panicked")),
                Err(_) => Err(JobError::passing(format!("the run took longer than {limit:?}"))),
            }
        };
        tokio::select! {
            outcome = run => Some(outcome),
            () = self.renew(claim) => None,
        }
    }

    /// Renews the lease for as long as it is ours.
    async fn renew(&self, claim: &Claim) {
        loop {
            sleep(RENEWAL).await;
            let until = self.kernel.clock.now().plus(LEASE);
            // A store that does not answer may do so before the lease ends.
            if let Ok(false) = self.kernel.store.jobs().renew(claim, until).await {
                return;
            }
        }
    }

    async fn settle(&self, claim: &Claim, outcome: Outcome) -> Result<RunOutcome> {
        let (kind, attempts) = (self.kind(), claim.attempt.number);
        let (after, error, outcome) = match outcome {
            Ok(Progress::Done) if kind.every.is_none() => {
                let is_ours = self.remove(claim).await?;
                return Ok(if_ours(is_ours, RunOutcome::Done));
            }
            Ok(Progress::Done) => (kind.every.unwrap_or_default(), None, RunOutcome::Done),
            Ok(Progress::Again(after)) => {
                (after.min(kind.retry.longest_wait), None, RunOutcome::Again)
            }
            Err(error) => {
                let reason: String = error.reason.chars().take(REASON_LENGTH).collect();
                if kind.every.is_none() && (error.is_final || kind.retry.is_over(attempts)) {
                    return self.bury(claim, &reason).await;
                }
                let wait = with_jitter(kind.retry.wait(attempts));
                let id = claim.attempt.id;
                let kind = kind.name;
                tracing::warn!(
                    event = "job_delayed", kind, %id, attempts, ?wait, error = reason, "job failed"
                );
                (wait, Some(reason), RunOutcome::Failed)
            }
        };
        let at = self.kernel.clock.now().plus(after);
        let is_ours = self.kernel.store.jobs().put_back(claim, Later { at, error }).await?;
        Ok(if_ours(is_ours, outcome))
    }

    async fn remove(&self, claim: &Claim) -> Result<bool> {
        let store = &self.kernel.store;
        if claim.is_ordered() {
            let claim = claim.clone();
            store.transact(async move |tx: &mut Tx| tx.jobs().remove(&claim).await).await
        } else {
            store.jobs().remove(claim).await
        }
    }

    async fn bury(&self, claim: &Claim, reason: &str) -> Result<RunOutcome> {
        let (store, now) = (&self.kernel.store, self.kernel.clock.now());
        let is_ours = if claim.is_ordered() {
            let (claim, reason) = (claim.clone(), reason.to_owned());
            let body = async move |tx: &mut Tx| tx.jobs().bury(&claim, &reason, now).await;
            store.transact(body).await?
        } else {
            store.jobs().bury(claim, reason, now).await?
        };
        if is_ours {
            let (kind, id, attempts) = (self.kind().name, claim.attempt.id, claim.attempt.number);
            tracing::error!(event = "job_dead", kind, %id, attempts, error = reason, "job given up");
        }
        Ok(if_ours(is_ours, RunOutcome::Dead))
    }
}

fn if_ours(is_ours: bool, outcome: RunOutcome) -> RunOutcome {
    if is_ours { outcome } else { RunOutcome::Lost }
}

/// Between three quarters of a wait and all of it, so that jobs which failed together come back
/// apart.
fn with_jitter(wait: Duration) -> Duration {
    let [random] = random_bytes();
    wait.mul_f64(f64::from(random).mul_add(0.25 / 255.0, 0.75))
}
