//! Periodic upkeep of accounts: it frees names, and takes up cleanups that an earlier natter has left
//! unfinished.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobDeps;
use crate::domain::jobs::{Attempt, Enqueue, Job, Outcome, PeriodicJob, Progress};
use crate::domain::users::{AccountCleanup, CLEANUP_HEAD_START};
use crate::store::Tx;

/// Deleted accounts that are taken up in one go.
const DEPARTED_BATCH: usize = 50;

/// Frees names, and enqueues the cleanup of accounts that have none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KeepUpAccounts {}

impl Job for KeepUpAccounts {
    type Deps = JobDeps;
    const KIND: &'static str = "account_upkeep";

    async fn run(&self, deps: &JobDeps, _: &Attempt) -> Outcome {
        let (now, repositories) = (deps.clock.now(), &deps.repositories);
        repositories.store.users().free_old_names(now).await?;
        let all_named = deps.deletion.name_reactions().await?;
        let before = now.minus(CLEANUP_HEAD_START);
        for left in repositories.store.users().departed(before, DEPARTED_BATCH).await? {
            let job = AccountCleanup { user: left.user, deleted_at: left.at };
            let enqueue = async move |tx: &mut Tx| {
                if tx.jobs().has(job.id()).await? {
                    return Ok(false);
                }
                tx.jobs().enqueue(&job, Enqueue::now(now).with_id(job.id())).await
            };
            repositories.store.transact(enqueue).await?;
        }
        Ok(if all_named { Progress::Done } else { Progress::Again(Duration::ZERO) })
    }
}

impl PeriodicJob for KeepUpAccounts {
    const EVERY: Duration = Duration::from_secs(5);
}
