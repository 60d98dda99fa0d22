//! The kinds of background jobs: a file for each, and a line below.

mod dead_letters;

use self::dead_letters::ForgetDeadLetters;
use crate::domain::clock::Clock;
use crate::jobs::Registry;
use crate::repositories::Repositories;

/// What jobs work with.
#[derive(Debug, Clone)]
pub struct JobDeps {
    repositories: Repositories,
    clock: Clock,
}

impl JobDeps {
    /// What the jobs of an instance work with.
    #[must_use]
    pub fn new(repositories: &Repositories, clock: &Clock) -> Self {
        Self { repositories: repositories.clone(), clock: clock.clone() }
    }
}

/// Every kind of job.
#[must_use]
pub fn registry() -> Registry<JobDeps> {
    Registry::default().with_periodic::<ForgetDeadLetters>()
}
