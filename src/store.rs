//! MongoDB: the truth. This file has the connection: its options, one deadline for every call, and
//! transactions. `rows` has a file for each collection; documents are private, domain types come out.

pub mod active_sessions;
pub mod bulk;
pub mod check;
pub mod costs;
pub mod events;
pub mod files;
pub mod indexing;
pub mod keys;
pub mod messages;
pub mod rows;
pub mod schema;
pub mod search;
pub mod striped_locks;

mod bson;
mod email_keys;
mod embedded;
mod pool;
mod primary;
mod repositories;
mod table;
mod transaction;
mod tx;
mod unit;
mod uri;
mod wakes;

use std::fmt;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::doc;
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, ClientSession, Cursor, Database, SessionCursor};
use serde::de::DeserializeOwned;

use self::pool::Pool;
use self::pool::observe_checkouts;
use self::pool::{Collection, Pooled};
use self::primary::PrimaryWatch;
pub use self::repositories::Repositories;
use self::table::{RowUpdate, Table, older};
use self::transaction::is_transient;
use self::transaction::{again_if_taken, duplicate_of};
pub use self::transaction::{give_up, retry_transaction};
pub use self::tx::Tx;
pub use self::uri::UriError;
pub use self::wakes::Wakes;
use crate::error::{Error, Result};
use crate::metrics::PoolsMetrics;

/// Connections of each of the two pools, where the URI does not say how many.
const CONNECTIONS: u32 = 64;

/// The collection of what is there once: leases, progress, the number of shards.
const META: &str = "meta";

/// How long one call may take, a frozen server included; then the answer is 503.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// The database and its pools of connections; cloning is cheap.
#[derive(Clone)]
pub struct Store {
    database: Database,
    pool: Pool,
    /// Has connections of its own; see [`Store::for_writers`].
    writers: Pool,
    background: Pool,
    /// Of the client of readers.
    primary: PrimaryWatch,
    wakes: Wakes,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.database.name())
    }
}

impl Pooled for Store {
    fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Store {
    /// A client for `uri`; it connects when it is first used. Reads see what a majority has
    /// acknowledged, writes wait for it.
    ///
    /// # Errors
    /// When the URI cannot be understood, or asks for what natter cannot do.
    pub async fn new(uri: &str, database: &str) -> Result<Self, UriError> {
        let metrics = PoolsMetrics::unseen().map_err(UriError::other)?;
        Box::pin(Self::measured(uri, database, &metrics)).await
    }

    /// The same, its pools counted in `metrics`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub async fn measured(
        uri: &str,
        database: &str,
        metrics: &PoolsMetrics,
    ) -> Result<Self, UriError> {
        let mut options = uri::options(uri).await?;
        let connections = options.max_pool_size.unwrap_or(CONNECTIONS);
        observe_checkouts(&mut options);
        let writers = Client::with_options(options.clone()).map_err(|e| UriError::new(uri, &e))?;
        let primary = PrimaryWatch::default();
        options.sdam_event_handler = Some(primary.handler());
        let client = Client::with_options(options).map_err(|e| UriError::new(uri, &e))?;
        let database = client.database(database);
        Ok(Self {
            database,
            pool: Pool::new(&client, connections, metrics.pool("mongodb")),
            writers: Pool::new(&writers, connections, metrics.pool("mongodb_writers")),
            background: Pool::background(&client, metrics.pool("mongodb_background")),
            primary,
            wakes: Wakes::default(),
        })
    }

    /// The same database over connections that readers do not use. A writer's transaction is a
    /// dozen commands one after the other; where each waited for a connection behind every
    /// reader, it passed its deadline while single reads were still answered.
    fn for_writers(&self) -> Self {
        let database = self.writers.client.database(self.database.name());
        Self { database, pool: self.writers.clone(), ..self.clone() }
    }

    /// The same database over connections that no request waits for: for what follows changes,
    /// and holds a connection for as long as it waits for the next one, and for leases.
    fn for_background(&self) -> Self {
        Self { pool: self.background.clone(), ..self.clone() }
    }

    /// Which primary answers reads.
    fn primary(&self) -> &PrimaryWatch {
        &self.primary
    }

    /// What wakes the workers of this instance.
    #[must_use]
    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// The database itself, for schema and administration.
    fn database(&self) -> &Database {
        &self.database
    }

    /// Where commands about the whole server or cluster go.
    fn admin(&self) -> Database {
        self.pool.client.database("admin")
    }

    /// What a sharded cluster keeps about itself.
    fn config(&self) -> Database {
        self.pool.client.database("config")
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        Collection::new(&self.database, name, &self.pool)
    }

    /// Whether the database takes commands now: answers within a second, and has a primary.
    pub async fn is_up(&self) -> bool {
        let ping = self.admin();
        let ping = async { ping.run_command(doc! { "ping": 1 }).await };
        matches!(self.background.run(Duration::from_secs(1), ping).await, Ok(Ok(_)))
    }

    /// Runs reads that all see one and the same moment, under one deadline.
    ///
    /// # Errors
    /// `body`'s own; [`Error::unavailable`] when the deadline passes.
    pub async fn snapshot<T>(&self, body: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
        let reads = async {
            let session = self.pool.client.start_session().snapshot(true).await?;
            body(&mut Tx::new(session, &self.database)).await
        };
        Box::pin(self.pool.run(DEADLINE, reads)).await?
    }
}

fn majority() -> WriteConcern {
    let mut concern = WriteConcern::from(Acknowledgment::Majority);
    concern.journal = Some(true);
    concern
}

/// Runs one call under the deadline, in a place of the pool that it goes through. The call uses
/// one connection at a time, and waits for no other place.
fn within<T>(
    at: &impl Pooled,
    call: impl IntoFuture<Output = Result<T, DriverError>>,
) -> impl Future<Output = Result<T>> {
    let outcome = within_raw(at, call);
    async { outcome.await?.map_err(Error::from) }
}

/// As [`within`], leaving the driver's error to be looked at.
fn within_raw<T>(
    at: &impl Pooled,
    call: impl IntoFuture<Output = Result<T, DriverError>>,
) -> impl Future<Output = Result<Result<T, DriverError>>> {
    within_limit(at, DEADLINE, call)
}

/// As [`within_raw`], for work that no request waits for and that has a time limit of its own.
fn within_limit<T>(
    at: &impl Pooled,
    limit: Duration,
    call: impl IntoFuture<Output = Result<T, DriverError>>,
) -> impl Future<Output = Result<Result<T, DriverError>>> {
    // Boxed at once: the driver's futures are large, and handlers hold many.
    Box::pin(at.pool().run(limit, call.into_future()))
}

/// All documents of a cursor; the query bounds how many.
fn all<T>(
    at: &impl Pooled,
    find: impl IntoFuture<Output = Result<Cursor<T>, DriverError>>,
) -> impl Future<Output = Result<Vec<T>>>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    within(at, async { find.await?.try_collect().await })
}

/// All documents of a cursor of a session; the query bounds how many.
async fn all_in<T>(
    session: &mut ClientSession,
    mut found: SessionCursor<T>,
) -> Result<Vec<T>, DriverError>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    found.stream(session).try_collect().await
}

/// The driver's error as ours: a store that is away, or a defect.
impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        if is_away(&error) { Self::unavailable().with_source(error) } else { Self::internal(error) }
    }
}

/// Whether this says that the store cannot answer now.
fn is_away(error: &DriverError) -> bool {
    matches!(
        *error.kind,
        ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Transaction { .. }
            | ErrorKind::Write(WriteFailure::WriteConcernError(_))
    ) || is_transient(error)
        || error.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR)
        || error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT)
        || server_code(error).is_some_and(|code| AWAY_CODES.contains(&code))
}

/// Codes of a server that is starting, stopping, stepping down or too slow: 6 `HostUnreachable`,
/// 7 `HostNotFound`, 50 `MaxTimeMSExpired`, 64 `WriteConcernFailed`, 89 `NetworkTimeout`,
/// 91 `ShutdownInProgress`, 112 `WriteConflict`, 134 `ReadConcernMajorityNotAvailableYet`,
/// 189 `PrimarySteppedDown`, 262 `ExceededTimeLimit`, 9001 `SocketException`, 10107
/// `NotWritablePrimary`, 11600 and 11602 `InterruptedAtShutdown` and `…DueToReplStateChange`,
/// 13435 and 13436 `NotPrimaryNoSecondaryOk` and `NotPrimaryOrSecondary`.
const AWAY_CODES: [i32; 16] =
    [6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// `DuplicateKey`.
const DUPLICATE_KEY: i32 = 11000;

/// The server's code for what it refuses.
fn server_code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::InsertMany(error) => error.write_errors.as_ref()?.first().map(|e| e.code),
        _ => None,
    }
}

/// Whether a unique key stood against the write, and of which index: `_id_` or its name. Of many
/// rows, an index other than that of the ids comes first.
fn duplicate(error: &DriverError) -> Option<String> {
    let messages = match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY => {
            vec![&error.message]
        }
        ErrorKind::Command(error) if error.code == DUPLICATE_KEY => vec![&error.message],
        ErrorKind::InsertMany(error) => {
            let errors = error.write_errors.iter().flatten();
            let duplicates = errors.filter(|error| error.code == DUPLICATE_KEY);
            duplicates.map(|error| &error.message).collect()
        }
        _ => return None,
    };
    let index = |message: &String| {
        let index = message.split("index: ").nth(1).and_then(|rest| rest.split(' ').next());
        index.unwrap_or("_id_").to_owned()
    };
    messages.into_iter().map(index).min_by_key(|name| name == "_id_")
}
