//! The connection to MongoDB: its options, one deadline for every call, and transactions.

use std::fmt;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::doc;
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, TransactionOptions, WriteConcern,
};
use mongodb::{Client, ClientSession, Collection, Cursor, Database};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::clock::random_bytes;
use crate::error::{Error, Result};

/// How long one call may take, a frozen server included; then the answer is 503.
const DEADLINE: Duration = Duration::from_secs(4);

/// The database and its client; cloning is cheap.
#[derive(Clone)]
pub struct Store {
    client: Client,
    database: Database,
    /// Has connections of its own; see [`Store::for_writers`].
    writers: Client,
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
        let client = Client::with_options(options).map_err(Error::internal)?;
        let database = client.database(database);
        Ok(Self { client, database, writers })
    }

    /// The same database over connections that readers do not use. A writer's transaction is a
    /// dozen commands one after the other; where each waited for a connection behind every
    /// reader, it passed its deadline while single reads were still answered.
    pub(super) fn for_writers(&self) -> Self {
        let client = self.writers.clone();
        let database = client.database(self.database.name());
        Self { client, database, writers: self.writers.clone() }
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

    /// Runs `body` in one transaction (snapshot reads, majority commit), again from its start
    /// where the server says that a conflict or a changed primary made it fail for now.
    ///
    /// # Errors
    /// `body`'s own; [`Error::unavailable`] when the deadline passes, the outcome then being all
    /// or nothing.
    pub(super) async fn transact<T, F>(&self, mut body: F) -> Result<T>
    where
        F: AsyncFnMut(&mut ClientSession) -> Result<T, Abort>,
    {
        let deadline = Instant::now() + DEADLINE;
        let run = async {
            let mut session = self.client.start_session().await?;
            let mut conflicts = 0;
            loop {
                let started = session.start_transaction().with_options(transaction()).await;
                started?;
                let outcome = match body(&mut session).await {
                    Ok(value) => commit(&mut session).await.map(|()| value).map_err(Abort::from),
                    Err(abort) => {
                        // The server ends it by itself should this not arrive.
                        let _ = session.abort_transaction().await;
                        Err(abort)
                    }
                };
                match outcome {
                    Err(abort) if abort.is_passing() => {
                        conflicts += 1;
                        tokio::time::sleep(backoff(conflicts)).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        match timeout_at(deadline, run).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Abort::Rule(error))) => Err(error),
            Ok(Err(Abort::Driver(error))) => Err(failed(error)),
            Ok(Err(Abort::Again)) => Err(Error::unavailable()),
            Err(_) => Err(Error::unavailable().with_source("a transaction passed its deadline")),
        }
    }
}

/// Why the body of a transaction ends it.
#[derive(Debug)]
pub(super) enum Abort {
    /// A rule of ours is broken: nothing is written, the caller is told.
    Rule(Error),
    /// The database failed; tried again where that can help.
    Driver(DriverError),
    /// Someone else was first at a key: to be run again, on what is there now.
    Again,
}

impl Abort {
    /// A driver's error, or [`Abort::Again`] where it is that a key is taken.
    pub fn again_if_taken(error: DriverError) -> Self {
        if duplicate(&error).is_some() { Self::Again } else { Self::Driver(error) }
    }

    fn is_passing(&self) -> bool {
        match self {
            Self::Rule(_) => false,
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

fn majority() -> WriteConcern {
    let mut concern = WriteConcern::from(Acknowledgment::Majority);
    concern.journal = Some(true);
    concern
}

fn transaction() -> TransactionOptions {
    TransactionOptions::builder()
        .read_concern(ReadConcern::snapshot())
        .write_concern(majority())
        .build()
}

/// Commits, asking again while the outcome is unknown: committing twice is committing once.
async fn commit(session: &mut ClientSession) -> Result<(), DriverError> {
    loop {
        match session.commit_transaction().await {
            Err(error)
                if error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT) =>
            {
                tokio::time::sleep(backoff(1)).await;
            }
            outcome => return outcome,
        }
    }
}

fn is_transient(error: &DriverError) -> bool {
    error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR)
}

/// 1 to 2 ms, doubling with each conflict up to 64 to 128 ms, random so that rivals part.
fn backoff(conflicts: u32) -> Duration {
    let [random] = random_bytes();
    let base = 1_u64 << (conflicts - 1).min(6);
    Duration::from_micros(base * (1000 + 4 * u64::from(random)))
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
