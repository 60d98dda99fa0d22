//! Transactions: run until they are committed, or known not to be, or their time is over.

use std::time::Duration;

use mongodb::ClientSession;
use mongodb::error::Error as DriverError;
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria, TransactionOptions};
use tokio::time::Instant;

use super::unit::Unit;
use super::{DEADLINE, Store, duplicate, failed, majority, server_code};
use crate::domain::clock::random_bytes;
use crate::error::{Error, Result};
use crate::failpoint;

impl Store {
    /// Runs `body` in one transaction (snapshot reads, majority commit), again from its start
    /// where the server says that a conflict or a changed primary made it fail for now.
    ///
    /// # Errors
    /// `body`'s own; [`Error::unavailable`] when the deadline passes, the outcome then being all
    /// or nothing.
    pub(in crate::repositories) async fn transact<T, F>(&self, body: F) -> Result<T>
    where
        F: AsyncFnMut(&mut ClientSession) -> Result<T, Abort>,
    {
        let written = self.transact_or_give_up(body).await?;
        written.ok_or_else(Error::unavailable)
    }

    /// As [`transact`](Self::transact); `None` where `body` ends with [`Abort::GiveUp`], nothing
    /// being written then.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub(in crate::repositories) async fn transact_or_give_up<T, F>(
        &self,
        mut body: F,
    ) -> Result<Option<T>>
    where
        F: AsyncFnMut(&mut ClientSession) -> Result<T, Abort>,
    {
        let deadline = Instant::now() + DEADLINE;
        let entrance = self.pool.enter(deadline).await?;
        let starting = async { self.pool.client.start_session().await };
        let Some(session) = entrance.run(deadline, starting).await else { return Err(late()) };
        let mut unit = Unit::new(entrance, session.map_err(failed)?, self.database());
        let (entrance, session, is_open) = unit.parts();
        let run = Box::pin(async {
            failpoint::reach("transaction.session");
            let mut conflicts = 0;
            loop {
                let outcome = attempt(session, is_open, &mut body).await;
                match outcome {
                    Err(abort) if abort.is_passing() => {
                        conflicts += 1;
                        tokio::time::sleep(backoff(conflicts)).await;
                    }
                    outcome => return outcome.map(Some),
                }
            }
        });
        match entrance.run(deadline, run).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(Abort::GiveUp)) => Ok(None),
            Some(Err(Abort::Rule(error))) => Err(error),
            Some(Err(Abort::Driver(error))) => Err(failed(error)),
            Some(Err(Abort::Again)) => Err(Error::unavailable()),
            None => Err(late()),
        }
    }
}

fn late() -> Error {
    Error::unavailable().with_source("a transaction passed its deadline")
}

/// Runs `body` in a transaction once; `is_open` says whether the server may have it open still.
async fn attempt<T>(
    session: &mut ClientSession,
    is_open: &mut bool,
    body: &mut impl AsyncFnMut(&mut ClientSession) -> Result<T, Abort>,
) -> Result<T, Abort> {
    session.start_transaction().with_options(transaction()).await?;
    failpoint::reach("transaction.begun");
    *is_open = true;
    match body(session).await {
        Ok(value) => {
            let committed = commit(session).await;
            *is_open = committed.as_ref().is_err_and(is_unheard);
            committed.map(|()| value).map_err(Abort::from)
        }
        Err(abort) => {
            // The driver does not tell whether this arrives.
            let _ = session.abort_transaction().await;
            *is_open = matches!(&abort, Abort::Driver(error) if is_unheard(error));
            failpoint::reach("transaction.aborted");
            Err(abort)
        }
    }
}

/// Why the body of a transaction ends it.
#[derive(Debug)]
pub(in crate::repositories) enum Abort {
    /// A rule of ours is broken: nothing is written, the caller is told.
    Rule(Error),
    /// The database failed; tried again where that can help.
    Driver(DriverError),
    /// Someone else was first at a key: to be run again, on what is there now.
    Again,
    /// Run again often enough, as the body finds.
    GiveUp,
}

impl Abort {
    /// A driver's error, or [`Abort::Again`] where it is that a key is taken.
    pub fn again_if_taken(error: DriverError) -> Self {
        if duplicate(&error).is_some() { Self::Again } else { Self::Driver(error) }
    }

    fn is_passing(&self) -> bool {
        match self {
            Self::Rule(_) | Self::GiveUp => false,
            Self::Driver(error) => is_transient(error),
            Self::Again => true,
        }
    }
}

impl From<DriverError> for Abort {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Rule(error)
    }
}

fn transaction() -> TransactionOptions {
    TransactionOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .read_concern(ReadConcern::snapshot())
        .write_concern(majority())
        .build()
}

/// Whether no server has said this.
fn is_unheard(error: &DriverError) -> bool {
    server_code(error).is_none()
}

/// Commits, asking again while the outcome is unknown: committing twice is committing once.
async fn commit(session: &mut ClientSession) -> Result<(), DriverError> {
    failpoint::lose("transaction.commit")?;
    let mut asked = 0;
    loop {
        match session.commit_transaction().await {
            Err(error)
                if error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT) =>
            {
                asked += 1;
                tokio::time::sleep(backoff(asked)).await;
            }
            outcome => {
                failpoint::lose("transaction.committed")?;
                return outcome;
            }
        }
    }
}

pub(super) fn is_transient(error: &DriverError) -> bool {
    error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR)
}

/// 1 to 2 ms, doubling with each conflict up to 64 to 128 ms, random so that rivals part.
fn backoff(conflicts: u32) -> Duration {
    let [random] = random_bytes();
    let base = 1_u64 << (conflicts - 1).min(6);
    Duration::from_micros(base * (1000 + 4 * u64::from(random)))
}
