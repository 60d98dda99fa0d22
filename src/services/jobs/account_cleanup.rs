//! Removes what a deleted account has left elsewhere, until nothing can be added to it any more.

use std::time::Duration;

use super::JobDeps;
use crate::domain::jobs::{Attempt, Job, Outcome, Progress, Retry};
use crate::domain::users::AccountCleanup;

/// After which no request can be under way any more that began before the deletion, and might
/// still add something: what is cleaned then stays clean.
const SETTLE_TIME: Duration = Duration::from_mins(1);

impl Job for AccountCleanup {
    type Deps = JobDeps;
    const KIND: &'static str = "account_cleanup";
    const RETRY: Retry = Retry::FOREVER;
    const CONCURRENCY: usize = 2;

    async fn run(&self, deps: &JobDeps, _: &Attempt) -> Outcome {
        let user = self.user;
        let all_named = deps.deletion.name_reactions().await?;
        if !(deps.deletion.clean(user).await? && all_named) {
            return Ok(Progress::Again(Duration::ZERO));
        }
        let gone_for = deps.clock.now().since(self.deleted_at);
        if let Some(left) = SETTLE_TIME.checked_sub(gone_for)
            && !left.is_zero()
        {
            return Ok(Progress::Again(left));
        }
        deps.repositories.store.users().finish_departure(user).await?;
        tracing::info!(event = "deletion_finished", %user, "nothing of the account is left");
        Ok(Progress::Done)
    }
}
