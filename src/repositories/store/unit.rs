//! The end of a transaction that was given up: a task of its own sees to it.
//!
//! An open transaction stands in the way of all who write the same rows, for a minute, until the
//! server ends it by itself. So a transaction whose deadline has passed, or whose caller has gone,
//! keeps its place until the server is known to have ended it.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{ClientSession, Collection, Database};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::pool::Entrance;
use super::{DEADLINE, failed};
use crate::error::Kind;

/// How long a server keeps a transaction, as it is delivered (`transactionLifetimeLimitSeconds`).
const LIFETIME: Duration = Duration::from_mins(1);

/// Between two attempts to end one on a server that does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// A transaction in its place, from its session's start on.
pub(super) struct Unit {
    entrance: Entrance,
    /// Taken when it is dropped.
    session: Option<ClientSession>,
    /// Whether the server may have a transaction of the session open.
    is_open: bool,
    /// A collection that every database of natter has.
    meta: Collection<Document>,
}

impl Unit {
    pub fn new(entrance: Entrance, session: ClientSession, database: &Database) -> Self {
        let meta = database.collection("meta");
        Self { entrance, session: Some(session), is_open: false, meta }
    }

    pub fn parts(&mut self) -> (&Entrance, &mut ClientSession, &mut bool) {
        let session = self.session.as_mut().expect("taken only when it is dropped");
        (&self.entrance, session, &mut self.is_open)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let Some(session) = self.session.take_if(|_| self.is_open) else { return };
        let entrance = self.entrance.take_over();
        // Without a runtime there is no driver any more either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(end(entrance, session, self.meta.clone()));
        }
    }
}

/// Ends whatever transaction the session has open, and then gives the place back.
///
/// A write under the session's next number does: the server ends the transaction before it, and
/// refuses what may still arrive of it, as a command that a frozen server has yet to read.
async fn end(entrance: Entrance, mut session: ClientSession, meta: Collection<Document>) {
    let until = Instant::now() + LIFETIME;
    while Instant::now() < until {
        let write = async {
            // Fails for one that is aborted already. Behind mongos only this reaches all shards.
            let _ = session.abort_transaction().await;
            let nothing = meta.delete_one(doc! { "_id": "nothing" }).session(&mut session);
            // Not of a majority: there may be none, and the end of it needs none.
            nothing.write_concern(WriteConcern::nodes(1)).await
        };
        match entrance.run(Instant::now() + DEADLINE, write).await {
            Some(Ok(_)) => return,
            Some(Err(error)) => {
                let error = failed(error);
                if error.kind() != Kind::Unavailable {
                    return tracing::warn!(event = "transaction_left_open", %error);
                }
            }
            None => {}
        }
        sleep(RETRY).await;
    }
}
