//! Collections and indexes: `indexes/*.json` defines them, nothing else does.
//!
//! [`apply`] runs at every start and makes what is missing, by exactly one of the instances that
//! start together. What is there and differs, or is in no definition, is reported and left alone:
//! only a person can know whether its data may go.

mod compare;
mod definition;
mod found;
mod lease;
mod step;

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{Document, doc};

use self::definition::Wanted;
use self::found::{Found, Topology};
use self::lease::{Lease, State};
pub use self::step::Step;
use super::store::{Store, server_code, within};
use crate::domain::clock::Clock;
use crate::error::Error;

/// Collections made at the same time; they share the waits for the journal. A new database took
/// 200 ms one by one, 130 ms with 8, 90 ms with 16.
const AT_ONCE: usize = 16;

/// How often an instance that waits for another one's work looks again.
const GLANCE: Duration = Duration::from_millis(50);

/// Why collections and indexes cannot be brought up to date: a line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The settings ask for another number of message collections than the database has.
    #[error(
        "messages.shards is {wanted}, but database {database} was begun with {stored}, and where \
         a message is kept follows from that number: set it back to {stored}"
    )]
    Shards {
        /// `messages.shards` of this instance.
        wanted: u32,
        /// What the first start on this database fixed.
        stored: u32,
        /// Its name.
        database: String,
    },
    /// There are no transactions on a server of its own.
    #[error("mongodb.uri leads to a single server: natter needs a replica set, or mongos")]
    SingleServer,
    /// The server does not take a definition, or the data stands against it.
    #[error("MongoDB refuses to make {what}: {source}")]
    Refused {
        /// A collection, with or without one of its indexes.
        what: String,
        /// The server's reason.
        source: mongodb::error::Error,
    },
    /// Another instance took the work over, because this one was silent for too long.
    #[error("another instance went on with collections and indexes: start this one again")]
    Overtaken,
    /// The database does not answer as it must.
    #[error("MongoDB cannot be used: {}", reason(.0))]
    Store(#[from] Error),
}

fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// What [`apply`] did, and what it left for a person to decide.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// Made by this instance; empty where all was there, or another instance made it.
    pub made: Vec<Step>,
    /// Differences that it does not touch.
    pub reported: Vec<Step>,
}

/// Compares the database with the definitions: what [`apply`] would make, and what it would
/// only report.
///
/// # Errors
/// [`SchemaError::Shards`] for another `shards` than the database has, or it is not reachable.
pub async fn plan(store: &Store, shards: u32) -> Result<Vec<Step>, SchemaError> {
    let topology = topology(store).await?;
    Lease::new(store).state().await?.check(store, shards)?;
    compare(store, shards, topology).await
}

/// Makes the collections and indexes that are missing, or waits until another instance has done
/// so. `shards` is the number of message collections, fixed by the first call on a database.
///
/// # Errors
/// As [`plan`], and when the server refuses a definition.
pub async fn apply(store: &Store, shards: u32, clock: &Clock) -> Result<Applied, SchemaError> {
    let topology = topology(store).await?;
    let lease = Lease::new(store);
    let mut waits = false;
    loop {
        let state = lease.state().await?;
        state.check(store, shards)?;
        if state.is_free(clock.now()) {
            let steps = compare(store, shards, topology).await?;
            if state.is_applied() && !steps.iter().any(Step::is_missing) {
                return Ok(report(Applied { made: Vec::new(), reported: steps }));
            }
            if let Some(held) = lease.take(shards, clock).await? {
                return held.run(make_missing(store, shards, topology), clock).await.map(report);
            }
        }
        if !waits {
            tracing::info!(event = "schema_waits", "another instance makes collections");
            waits = true;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// How many collections a database has.
#[must_use]
pub fn count(shards: u32) -> usize {
    definition::wanted(shards).len()
}

/// The holder of the lease looks again, since someone may have held it in between.
async fn make_missing(
    store: &Store,
    shards: u32,
    topology: Topology,
) -> Result<Applied, SchemaError> {
    let steps = compare(store, shards, topology).await?;
    let (made, reported): (Vec<_>, Vec<_>) = steps.into_iter().partition(Step::is_missing);
    let wanted = definition::wanted(shards);
    if topology == Topology::Sharded && made.iter().any(Step::is_shard) {
        enable_sharding(store).await?;
    }
    let concerned = |wanted: &&Wanted| made.iter().any(|step| step.concerns(&wanted.name));
    let work: Vec<_> =
        wanted.iter().filter(concerned).map(|wanted| make(store, wanted, &made)).collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(Applied { made, reported })
}

fn report(applied: Applied) -> Applied {
    if !applied.made.is_empty() {
        tracing::info!(event = "schema_made", steps = applied.made.len());
    }
    for step in &applied.made {
        tracing::debug!(event = "schema_made", %step);
    }
    for step in &applied.reported {
        tracing::warn!(event = "schema_differs", %step);
    }
    applied
}

async fn compare(store: &Store, shards: u32, topology: Topology) -> Result<Vec<Step>, SchemaError> {
    let wanted = definition::wanted(shards);
    let found = Found::read(store, &wanted, topology).await?;
    Ok(compare::differences(&wanted, &found))
}

async fn topology(store: &Store) -> Result<Topology, SchemaError> {
    let hello = within(store.database().run_command(doc! { "hello": 1 })).await?;
    Topology::of(&hello).ok_or(SchemaError::SingleServer)
}

/// Makes what the steps say about one collection.
async fn make(store: &Store, wanted: &Wanted, steps: &[Step]) -> Result<(), SchemaError> {
    let mine = || steps.iter().filter(|step| step.concerns(&wanted.name));
    if mine().any(|step| matches!(step, Step::CreateCollection { .. })) {
        let mut create = doc! { "create": &wanted.name };
        create.extend(wanted.options.clone());
        command(store, create, || format!("collection {}", wanted.name)).await?;
    }
    let missing: Vec<Document> = mine().filter_map(|step| wanted.missing_index(step)).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().filter_map(|i| i.get_str("name").ok()).collect();
        let what = format!("index {} of {}", names.join(", "), wanted.name);
        let create = doc! { "createIndexes": &wanted.name, "indexes": missing };
        command(store, create, || what).await?;
    }
    if let Some(key) = wanted.shard_key.as_ref().filter(|_| mine().any(Step::is_shard)) {
        let name = format!("{}.{}", store.database().name(), wanted.name);
        let shard = doc! { "shardCollection": name, "key": key.clone() };
        let what = || format!("sharded collection {}", wanted.name);
        refused(store.admin().run_command(shard).await, what)?;
    }
    Ok(())
}

async fn enable_sharding(store: &Store) -> Result<(), SchemaError> {
    let command = doc! { "enableSharding": store.database().name() };
    refused(store.admin().run_command(command).await, || "a sharded database".to_owned())
}

/// Sends one command that waits for a majority. It has no deadline, since an index over data that
/// is there takes its time: the lease's renewal notices when the server is gone.
async fn command(
    store: &Store,
    mut command: Document,
    what: impl FnOnce() -> String,
) -> Result<(), SchemaError> {
    command.insert("writeConcern", doc! { "w": "majority" });
    refused(store.database().run_command(command).await, what)
}

fn refused(
    outcome: Result<Document, mongodb::error::Error>,
    what: impl FnOnce() -> String,
) -> Result<(), SchemaError> {
    /// `NamespaceExists`: made by whoever held the lease before and was too slow.
    const EXISTS: i32 = 48;
    match outcome {
        Err(source) if server_code(&source) == Some(EXISTS) => Ok(()),
        Err(source) => Err(SchemaError::Refused { what: what(), source }),
        Ok(_) => Ok(()),
    }
}

impl State {
    /// Stops an instance that would look for messages elsewhere.
    fn check(&self, store: &Store, wanted: u32) -> Result<(), SchemaError> {
        match self.shards {
            Some(stored) if stored != wanted => {
                let database = store.database().name().to_owned();
                Err(SchemaError::Shards { wanted, stored, database })
            }
            _ => Ok(()),
        }
    }
}
