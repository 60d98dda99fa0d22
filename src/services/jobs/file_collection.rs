//! Removes uploads that did not end within an hour, and files that nothing has referred to for a
//! day.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JobDeps;
use crate::domain::jobs::{Attempt, Job, Outcome, PeriodicJob, Progress};

/// Removes files that nobody needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CollectFiles {}

impl Job for CollectFiles {
    type Deps = JobDeps;
    const KIND: &'static str = "file_collection";
    /// The first one over many files has much to do.
    const TIME_LIMIT: Duration = Duration::from_hours(1);

    async fn run(&self, deps: &JobDeps, _: &Attempt) -> Outcome {
        let uploads = deps.attachments.collect_abandoned().await;
        // One that fails must not keep the other from its work.
        let files = deps.attachments.collect_unused().await;
        let (uploads, files) = (uploads?, files?);
        if uploads > 0 {
            tracing::info!(event = "uploads_collected", uploads, "removed abandoned uploads");
        }
        if files > 0 {
            tracing::info!(event = "attachments_collected", files, "removed unused files");
        }
        Ok(Progress::Done)
    }
}

impl PeriodicJob for CollectFiles {
    const EVERY: Duration = Duration::from_mins(10);
}
