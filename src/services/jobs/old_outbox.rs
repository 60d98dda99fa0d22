//! Moves mails that an earlier natter has queued. Instances of that version may run beside this
//! one during an upgrade, and queue more; they send what is in their hands themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobDeps;
use crate::domain::jobs::{Attempt, Enqueue, Job, Outcome, PeriodicJob, Progress};
use crate::domain::mails::Mail;
use crate::store::Tx;

/// Moves the rows of `outbox` to `jobs`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MoveOldOutbox {}

impl Job for MoveOldOutbox {
    type Deps = JobDeps;
    const KIND: &'static str = "move_old_outbox";

    async fn run(&self, deps: &JobDeps, _: &Attempt) -> Outcome {
        let now = deps.clock.now();
        let (mut moved, mut unreadable) = (0, 0);
        let next = async move |tx: &mut Tx| {
            let taken: Option<Option<(Mail, Enqueue)>> = tx.outbox().take_due(now).await?;
            if let Some(Some((mail, how))) = &taken {
                tx.jobs().enqueue(mail, how.clone()).await?;
            }
            Ok(taken.map(|mail| mail.is_some()))
        };
        while let Some(is_moved) = deps.repositories.store.transact(next).await? {
            if is_moved { moved += 1 } else { unreadable += 1 }
        }
        if moved + unreadable > 0 {
            tracing::info!(event = "outbox_moved", mails = moved, unreadable, "moved old mails");
        }
        Ok(Progress::Done)
    }
}

impl PeriodicJob for MoveOldOutbox {
    const EVERY: Duration = Duration::from_mins(1);
}
