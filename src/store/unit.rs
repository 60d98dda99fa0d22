//! The end of a transaction that was given up: a task of its own sees to it.
//!
//! An open transaction stands in the way of all who write the same rows, for a minute, until the
//! server ends it by itself. So a transaction whose deadline has passed, or whose caller has gone,
//! keeps its place until the server is known to have ended it.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::DEADLINE;
use super::META;
use super::pool::Entrance;
use super::tx::Tx;
use crate::error::{Error, Kind};

/// How long a server keeps a transaction, as it is delivered (`transactionLifetimeLimitSeconds`).
const LIFETIME: Duration = Duration::from_mins(1);

/// Between two attempts to end one on a server that does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// A transaction in its place, from its session's start on.
pub(super) struct Unit {
    entrance: Entrance,
    /// Taken when it is dropped.
    tx: Option<Tx>,
    /// Whether the server may have a transaction of the session open.
    is_open: bool,
}

impl Unit {
    pub fn new(entrance: Entrance, tx: Tx) -> Self {
        Self { entrance, tx: Some(tx), is_open: false }
    }

    pub fn parts(&mut self) -> (&Entrance, &mut Tx, &mut bool) {
        let tx = self.tx.as_mut().expect("taken only when it is dropped");
        (&self.entrance, tx, &mut self.is_open)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let Some(tx) = self.tx.take_if(|_| self.is_open) else { return };
        let entrance = self.entrance.take_over();
        // Without a runtime there is no driver any more either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(end(entrance, tx));
        }
    }
}

/// Ends whatever transaction the session has open, and then gives the place back.
///
/// A write under the session's next number does: the server ends the transaction before it, and
/// refuses what may still arrive of it, as a command that a frozen server has yet to read.
async fn end(entrance: Entrance, mut tx: Tx) {
    let (database, session) = tx.parts();
    // A collection that every database of natter has.
    let meta = database.collection::<Document>(META);
    let until = Instant::now() + LIFETIME;
    while Instant::now() < until {
        let write = async {
            // Fails for one that is aborted already. Behind mongos only this reaches all shards.
            let _ = session.abort_transaction().await;
            let nothing = meta.delete_one(doc! { "_id": "nothing" }).session(&mut *session);
            // Not of a majority: there may be none, and the end of it needs none.
            nothing.write_concern(WriteConcern::nodes(1)).await
        };
        match entrance.run(Instant::now() + DEADLINE, write).await {
            Some(Ok(_)) => return,
            Some(Err(error)) => {
                let error = Error::from(error);
                if error.kind() != Kind::Unavailable {
                    return tracing::warn!(event = "transaction_left_open", %error, "cannot end a transaction");
                }
            }
            None => {}
        }
        sleep(RETRY_DELAY).await;
    }
}
