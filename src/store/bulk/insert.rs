//! Inserting what is absent.

use std::time::Duration;

use mongodb::error::{Error as DriverError, ErrorKind, IndexedWriteError};
use serde::Serialize;

use crate::error::Result;
use crate::store::{Collection, within_limit};

/// Rows of one command.
const BATCH: usize = 1000;

/// How long one command may take: nobody waits for it as for a request, and while the server
/// writes a checkpoint it takes seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Inserts the rows whose keys are not there.
pub(in crate::store) async fn absent<T: Serialize + Send + Sync>(
    collection: &Collection<T>,
    rows: &[T],
) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        let insert = collection.insert_many(batch).ordered(false);
        match within_limit(collection, DEADLINE, insert).await? {
            Ok(_) => {}
            Err(error) => check(error)?,
        }
    }
    Ok(())
}

/// Fails unless all that stood against an insert were rows that are there already.
fn check(error: DriverError) -> Result<()> {
    let ErrorKind::InsertMany(outcome) = &*error.kind else { return Err(error.into()) };
    let refused = outcome.write_errors.iter().flatten().find(|refused| !is_there(refused));
    match refused {
        None if outcome.write_concern_error.is_none() => Ok(()),
        _ => Err(error.into()),
    }
}

/// A clustered collection names no index.
fn is_there(refused: &IndexedWriteError) -> bool {
    let index = refused.message.split("index: ").nth(1);
    refused.code == 11000 && index.is_none_or(|index| index.starts_with("_id_ "))
}
