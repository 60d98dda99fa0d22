//! Removes dead letters that nobody retried: after 30 days, or when their job has expired.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobDeps;
use crate::domain::jobs::{Attempt, Job, Outcome, PeriodicJob, Progress};

/// How long operators have to look at a dead letter.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// Removes old dead letters.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ForgetDeadLetters {}

impl Job for ForgetDeadLetters {
    type Deps = JobDeps;
    const KIND: &'static str = "forget_dead_letters";

    async fn run(&self, deps: &JobDeps, _: &Attempt) -> Outcome {
        let now = deps.clock.now();
        let jobs = deps.repositories.store.jobs().forget_dead(now.minus(KEPT), now).await?;
        if jobs > 0 {
            tracing::info!(event = "dead_letters_forgotten", jobs, "removed old dead letters");
        }
        Ok(Progress::Done)
    }
}

impl PeriodicJob for ForgetDeadLetters {
    const EVERY: Duration = Duration::from_hours(1);
}
