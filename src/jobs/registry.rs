//! The kinds of jobs that an instance runs.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::clock::Timestamp;
use crate::domain::jobs::{Job, Outcome, PeriodicJob, Retry};
use crate::error::Result;
use crate::store::Store;
use crate::store::rows::jobs::Claim;

/// Runs a claimed job.
type Run<D> = for<'a> fn(&'a D, &'a Claim) -> BoxFuture<'a, Outcome>;

/// Makes the row of a periodic kind.
type Begin = for<'a> fn(&'a Store, Timestamp) -> BoxFuture<'a, Result<()>>;

/// A kind of job, its type forgotten.
pub(super) struct Kind<D> {
    pub name: &'static str,
    pub retry: Retry,
    pub concurrency: usize,
    pub time_limit: Duration,
    /// The period of a periodic kind.
    pub every: Option<Duration>,
    pub begin: Option<Begin>,
    pub run: Run<D>,
}

/// Kinds of jobs with the same dependencies.
pub struct Registry<D> {
    pub(super) kinds: Vec<Kind<D>>,
}

impl<D> Default for Registry<D> {
    fn default() -> Self {
        Self { kinds: Vec::new() }
    }
}

impl<D: Send + Sync + 'static> Registry<D> {
    /// Adds a kind.
    #[must_use]
    pub fn with<J: Job<Deps = D>>(mut self) -> Self {
        self.kinds.push(Kind {
            name: J::KIND,
            retry: J::RETRY,
            concurrency: J::CONCURRENCY,
            time_limit: J::TIME_LIMIT,
            every: None,
            begin: None,
            run: run::<J>,
        });
        self
    }

    /// Adds a kind that runs periodically: by one instance at a time, whatever their number.
    #[must_use]
    pub fn with_periodic<J: PeriodicJob<Deps = D>>(self) -> Self {
        let mut this = self.with::<J>();
        if let Some(kind) = this.kinds.last_mut() {
            kind.concurrency = 1;
            kind.every = Some(J::EVERY);
            kind.begin = Some(begin::<J>);
        }
        this
    }
}

fn run<'a, J: Job>(deps: &'a J::Deps, claim: &'a Claim) -> BoxFuture<'a, Outcome> {
    async move { claim.payload::<J>()?.run(deps, &claim.attempt).await }.boxed()
}

fn begin<J: PeriodicJob>(store: &Store, now: Timestamp) -> BoxFuture<'_, Result<()>> {
    async move { store.jobs().begin_periodic(&J::default(), now).await }.boxed()
}
