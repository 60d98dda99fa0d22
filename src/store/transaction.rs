//! Transactions: run until they are committed, or known not to be, or their time is over.

use std::error::Error as StdError;
use std::time::Duration;

use mongodb::ClientSession;
use mongodb::error::Error as DriverError;
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria, TransactionOptions};
use tokio::time::Instant;

use super::tx::Tx;
use super::unit::Unit;
use super::{DEADLINE, Store, duplicate, majority, server_code};
use crate::domain::clock::random_bytes;
use crate::error::{Error, Result};
use crate::failpoint;

impl Store {
    /// Runs `body` in one transaction (snapshot reads, majority commit), again from its start
    /// where the server says that a conflict or a changed primary made it fail for now. An error
    /// of `body` ends it, nothing being written then.
    ///
    /// # Errors
    /// `body`'s own; [`Error::unavailable`] when the deadline passes, the outcome then being all
    /// or nothing.
    pub async fn transact<T>(&self, mut body: impl AsyncFnMut(&mut Tx) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + DEADLINE;
        let entrance = self.pool.enter(deadline).await?;
        let starting = async { self.pool.client.start_session().await };
        let Some(session) = entrance.run(deadline, starting).await else { return Err(late()) };
        let tx = Tx::new(session?, self.database());
        let mut unit = Unit::new(entrance, tx);
        let (entrance, tx, is_open) = unit.parts();
        let run = Box::pin(async {
            failpoint::reach("transaction.session");
            let mut conflicts = 0;
            loop {
                tx.forget_wakes();
                match attempt(tx, is_open, &mut body).await {
                    Err(error) if is_passing(&error) => {
                        conflicts += 1;
                        tokio::time::sleep(backoff(conflicts)).await;
                    }
                    outcome => {
                        // Also where nobody knows: looking costs little.
                        for kind in tx.wakes() {
                            self.wakes.of(kind).notify_one();
                        }
                        return outcome;
                    }
                }
            }
        });
        entrance.run(deadline, run).await.unwrap_or_else(|| Err(late()))
    }

    /// As [`transact`](Self::transact); `None` where `body` ends with [`give_up`], nothing being
    /// written then.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub async fn transact_or_give_up<T>(
        &self,
        body: impl AsyncFnMut(&mut Tx) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.transact(body).await {
            Err(error) if cause::<Verdict>(&error) == Some(&Verdict::GiveUp) => Ok(None),
            outcome => outcome.map(Some),
        }
    }
}

fn late() -> Error {
    Error::unavailable().with_source("a transaction passed its deadline")
}

/// Runs `body` in a transaction once; `is_open` says whether the server may have it open still.
async fn attempt<T>(
    tx: &mut Tx,
    is_open: &mut bool,
    body: &mut impl AsyncFnMut(&mut Tx) -> Result<T>,
) -> Result<T> {
    tx.session().start_transaction().with_options(transaction()).await?;
    failpoint::reach("transaction.begun");
    *is_open = true;
    match body(tx).await {
        Ok(value) => {
            let committed = commit(tx.session()).await;
            *is_open = committed.as_ref().is_err_and(is_unheard);
            committed?;
            Ok(value)
        }
        Err(error) => {
            // The driver does not tell whether this arrives.
            let _ = tx.session().abort_transaction().await;
            *is_open = cause::<DriverError>(&error).is_some_and(is_unheard);
            failpoint::reach("transaction.aborted");
            Err(error)
        }
    }
}

/// What a body says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Verdict {
    #[error("another write was first at a key")]
    Again,
    #[error("given up")]
    GiveUp,
}

/// Ends an attempt of a transaction because of another write: the store runs its body again, on the
/// state that the other write has left.
#[must_use]
pub fn retry_transaction() -> Error {
    Error::unavailable().with_source(Verdict::Again)
}

/// [`retry_transaction`] where a unique key stood against a write; else the error itself.
pub(in crate::store) fn again_if_taken(error: impl Into<Error>) -> Error {
    let error = error.into();
    if duplicate_of(&error).is_some() { retry_transaction() } else { error }
}

/// The unique index that stood against a write, as [`duplicate`].
pub(in crate::store) fn duplicate_of(error: &Error) -> Option<String> {
    cause::<DriverError>(error).and_then(duplicate)
}

/// The error with which a body ends its transaction, nothing being written; see
/// [`Store::transact_or_give_up`].
#[must_use]
pub fn give_up() -> Error {
    Error::unavailable().with_source(Verdict::GiveUp)
}

/// What caused an error of ours, if it is of this type.
fn cause<C: StdError + 'static>(error: &Error) -> Option<&C> {
    error.source()?.downcast_ref()
}

fn is_passing(error: &Error) -> bool {
    cause::<DriverError>(error).is_some_and(is_transient)
        || cause::<Verdict>(error) == Some(&Verdict::Again)
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
