//! The connection to MongoDB: its options, one deadline for every call, and transactions.

mod primary;
mod transaction;

use std::fmt;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::doc;
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Cursor, Database, SessionCursor};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

pub(super) use self::primary::PrimaryWatch;
pub(super) use self::transaction::Abort;
use self::transaction::is_transient;
use crate::error::{Error, Result};

/// How long one call may take, a frozen server included; then the answer is 503.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// The database and its client; cloning is cheap.
#[derive(Clone)]
pub struct Store {
    client: Client,
    database: Database,
    /// Has connections of its own; see [`Store::for_writers`].
    writers: Client,
    /// Of the client of readers.
    primary: PrimaryWatch,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.database.name())
    }
}

impl Store {
    /// A client for `uri`; it connects when it is first used. Reads see what a majority has
    /// acknowledged, writes wait for it.
    ///
    /// # Errors
    /// When the URI cannot be understood.
    pub async fn new(uri: &str, database: &str) -> Result<Self> {
        let mut options = ClientOptions::parse(uri).await.map_err(Error::internal)?;
        options.app_name = Some("natter".to_owned());
        options.max_pool_size = options.max_pool_size.or(Some(64));
        options.server_selection_timeout = Some(Duration::from_secs(2));
        options.connect_timeout = Some(Duration::from_secs(2));
        options.read_concern = Some(ReadConcern::majority());
        options.write_concern = Some(majority());
        let writers = Client::with_options(options.clone()).map_err(Error::internal)?;
        let primary = PrimaryWatch::default();
        options.sdam_event_handler = Some(primary.handler());
        let client = Client::with_options(options).map_err(Error::internal)?;
        let database = client.database(database);
        Ok(Self { client, database, writers, primary })
    }

    /// The same database over connections that readers do not use. A writer's transaction is a
    /// dozen commands one after the other; where each waited for a connection behind every
    /// reader, it passed its deadline while single reads were still answered.
    pub(super) fn for_writers(&self) -> Self {
        let client = self.writers.clone();
        let database = client.database(self.database.name());
        Self { client, database, writers: self.writers.clone(), primary: self.primary.clone() }
    }

    /// Which primary answers reads.
    pub(super) fn primary(&self) -> &PrimaryWatch {
        &self.primary
    }

    /// The database itself, for schema and administration.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Where commands about the whole server or cluster go.
    pub(super) fn admin(&self) -> Database {
        self.client.database("admin")
    }

    /// What a sharded cluster keeps about itself.
    pub(super) fn config(&self) -> Database {
        self.client.database("config")
    }

    pub(super) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// Whether the database takes commands now: answers within a second, and has a primary.
    pub async fn is_up(&self) -> bool {
        let ping = self.database.run_command(doc! { "ping": 1 });
        matches!(timeout(Duration::from_secs(1), ping).await, Ok(Ok(_)))
    }

    /// A session whose reads all see one and the same moment.
    pub(super) async fn snapshot(&self) -> Result<ClientSession, DriverError> {
        self.client.start_session().snapshot(true).await
    }
}

fn majority() -> WriteConcern {
    let mut concern = WriteConcern::from(Acknowledgment::Majority);
    concern.journal = Some(true);
    concern
}

/// Runs one call under the deadline.
pub(super) async fn within<T>(call: impl IntoFuture<Output = Result<T, DriverError>>) -> Result<T> {
    within_raw(call).await?.map_err(failed)
}

/// As [`within`], leaving the driver's error to be looked at.
pub(super) async fn within_raw<T>(
    call: impl IntoFuture<Output = Result<T, DriverError>>,
) -> Result<Result<T, DriverError>> {
    // Boxed: the driver's futures are large, and handlers hold many.
    let outcome = timeout(DEADLINE, Box::pin(call.into_future())).await;
    outcome.map_err(|_| Error::unavailable().with_source("the database did not answer in time"))
}

/// All documents of a cursor; the query bounds how many.
pub(super) async fn all<T>(
    find: impl IntoFuture<Output = Result<Cursor<T>, DriverError>>,
) -> Result<Vec<T>>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    within(async { find.await?.try_collect().await }).await
}

/// All documents of a cursor of a session; the query bounds how many.
pub(super) async fn all_in<T>(
    session: &mut ClientSession,
    mut found: SessionCursor<T>,
) -> Result<Vec<T>, DriverError>
where
    T: DeserializeOwned + Unpin + Send + Sync,
{
    found.stream(session).try_collect().await
}

/// The driver's error as ours: a store that is away, or a defect.
pub(super) fn failed(error: DriverError) -> Error {
    let away = matches!(
        *error.kind,
        ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Transaction { .. }
            | ErrorKind::Write(WriteFailure::WriteConcernError(_))
    ) || is_transient(&error)
        || error.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR)
        || error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT)
        || server_code(&error).is_some_and(|code| AWAY_CODES.contains(&code));
    if away { Error::unavailable().with_source(error) } else { Error::internal(error) }
}

/// Codes of a server that is starting, stopping, stepping down or too slow: 6 `HostUnreachable`,
/// 7 `HostNotFound`, 50 `MaxTimeMSExpired`, 64 `WriteConcernFailed`, 89 `NetworkTimeout`,
/// 91 `ShutdownInProgress`, 112 `WriteConflict`, 134 `ReadConcernMajorityNotAvailableYet`,
/// 189 `PrimarySteppedDown`, 262 `ExceededTimeLimit`, 9001 `SocketException`, 10107
/// `NotWritablePrimary`, 11600 and 11602 `InterruptedAtShutdown` and `…DueToReplStateChange`,
/// 13435 and 13436 `NotPrimaryNoSecondaryOk` and `NotPrimaryOrSecondary`.
const AWAY_CODES: [i32; 16] =
    [6, 7, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// The server's code for what it refuses.
pub(super) fn server_code(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::InsertMany(error) => error.write_errors.as_ref()?.first().map(|e| e.code),
        _ => None,
    }
}

/// Whether a unique key stood against the write, and of which index: `_id_` or its name.
pub(super) fn duplicate(error: &DriverError) -> Option<String> {
    let message = match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == 11000 => &error.message,
        ErrorKind::Command(error) if error.code == 11000 => &error.message,
        ErrorKind::InsertMany(error) => {
            let errors = error.write_errors.as_ref()?;
            &errors.iter().find(|error| error.code == 11000)?.message
        }
        _ => return None,
    };
    let index = message.split("index: ").nth(1).and_then(|rest| rest.split(' ').next());
    Some(index.unwrap_or("_id_").to_owned())
}
