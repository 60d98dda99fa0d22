//! `natter jobs`: what an operator sees of background jobs, and does about dead letters.

use std::io::Write;

use super::Failure;
use crate::cli::JobsAction;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::domain::ids::JobId;
use crate::domain::jobs::{JobState, ListedJob};
use crate::store::rows::jobs::Which;
use crate::store::{Store, Tx};

/// That there is no such job.
#[derive(Debug, thiserror::Error)]
enum NoSuchJob {
    #[error("there is no dead job {0}")]
    Dead(JobId),
    #[error("there is no job {0}")]
    Any(JobId),
}

/// Lists, retries or deletes jobs.
///
/// # Errors
/// There is no such job, or the store is not reachable.
pub async fn jobs(settings: &Settings, action: JobsAction) -> Result<(), Failure> {
    let (uri, database) = (settings.mongodb.uri.expose(), &settings.mongodb.database);
    let store = Box::pin(Store::new(uri, database)).await?;
    let now = Clock::system().now();
    match action {
        JobsAction::List { dead, kind, limit, .. } => {
            let state = dead.then_some(JobState::Dead);
            let which = Which { kind: kind.as_deref(), state };
            list(&store.jobs().list(which, limit + 1).await?, limit);
        }
        JobsAction::Retry { id: Some(id), .. } => {
            let revive = async move |tx: &mut Tx| tx.jobs().revive(id, now).await;
            if !store.transact(revive).await? {
                return Err(NoSuchJob::Dead(id).into());
            }
        }
        JobsAction::Retry { kind, .. } => {
            let (kind, mut jobs) = (kind.unwrap_or_default(), 0);
            loop {
                let kind = kind.clone();
                let revive = async move |tx: &mut Tx| tx.jobs().revive_some(&kind, now).await;
                match store.transact(revive).await? {
                    0 => break,
                    some => jobs += some,
                }
            }
            println!("{jobs} enqueued again");
        }
        JobsAction::Delete { id, .. } => {
            let delete = async move |tx: &mut Tx| tx.jobs().delete(id).await;
            if !store.transact(delete).await? {
                return Err(NoSuchJob::Any(id).into());
            }
        }
    }
    Ok(())
}

/// A line for each job: id, kind, state, runs, when it was enqueued, when it is due or died, and
/// why it failed.
fn list(jobs: &[ListedJob], limit: usize) {
    let mut out = std::io::stdout().lock();
    for job in jobs.iter().take(limit) {
        let ListedJob { id, kind, attempts, enqueued_at, at, .. } = job;
        let (state, error) = (job.state.name(), job.error.as_deref().unwrap_or("-"));
        // The reader may stop early, as `head` does.
        let _ = writeln!(out, "{id}\t{kind}\t{state}\t{attempts}\t{enqueued_at}\t{at}\t{error}");
    }
    if jobs.len() > limit {
        eprintln!("natter: there are more than {limit}: see --limit");
    }
}
