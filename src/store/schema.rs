//! Collections and indexes: `indexes/*.json` defines them, nothing else does.
//!
//! [`apply`] runs at every start: it makes what is missing and changes validators that differ, by
//! exactly one of the instances that start together. What else is there and differs, or is in no
//! definition, is reported and left alone: only a person can know whether its data may go.

mod compare;
mod definition;
mod found;
mod lease;
mod make;
mod step;

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::doc;

use self::definition::Wanted;
use self::found::{Found, Topology};
use self::lease::{Lease, State};
use self::make::{enable_sharding, make};
pub use self::step::Step;
use super::{Store, within};
use crate::domain::clock::Clock;
use crate::error::Error;

/// Collections made at the same time; they share the waits for the journal. A new database took
/// 200 ms one by one, 130 ms with 8, 90 ms with 16.
const MAX_CONCURRENT_COLLECTIONS: usize = 16;

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
    #[error("mongodb.uri: it leads to a single server; natter needs a replica set, or mongos")]
    SingleServer,
    /// One server was asked for, and it cannot be written to.
    #[error(
        "mongodb.uri: with directConnection it leads to a server that is not the primary; name \
         the replica set instead, by replicaSet"
    )]
    Secondary,
    /// Nothing that can be used is there.
    #[error("mongodb.uri: {}", reason(.0))]
    Unreachable(#[source] Error),
    /// The server does not take a definition, or the data stands against it.
    #[error("MongoDB refuses to {what}: {source}")]
    Refused {
        /// As in `make index NAME of COLLECTION`.
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
    let reason =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What [`apply`] did, and what it left for a person to decide.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// Made or changed by this instance; empty where nothing was to do, or another one did it.
    pub made: Vec<Step>,
    /// Differences that it does not touch.
    pub reported: Vec<Step>,
}

/// Who wants the definitions applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An instance that starts. It may be an old one, between others that are newer: so it does
    /// not set validators back that newer definitions have changed.
    Start,
    /// A person, who means it.
    Operator,
}

/// Compares the database with the definitions: what [`apply`] would do for an operator, and what
/// it would only report.
///
/// # Errors
/// [`SchemaError::Shards`] for another `shards` than the database has, or it is not reachable.
pub async fn plan(store: &Store, shards: u32) -> Result<Vec<Step>, SchemaError> {
    let topology = topology(store).await?;
    Lease::new(&store.for_background()).state().await?.check(store, shards)?;
    compare(store, shards, topology).await
}

/// Makes the collections and indexes that are missing, and changes the validators that differ; or
/// waits until another instance has done so. `shards` is the number of message collections, fixed
/// by the first call on a database.
///
/// # Errors
/// As [`plan`], and when the server refuses a definition.
pub async fn apply(
    store: &Store,
    shards: u32,
    clock: &Clock,
    by: By,
) -> Result<Applied, SchemaError> {
    let topology = topology(store).await?;
    let lease = Lease::new(&store.for_background());
    let mut waits = false;
    loop {
        let state = lease.state().await?;
        state.check(store, shards)?;
        if state.is_free(clock.now()) {
            let is_outdated = by == By::Start && state.is_superseded();
            let steps = compare_as(store, shards, topology, is_outdated).await?;
            if (state.is_applied() || is_outdated) && !steps.iter().any(Step::is_due) {
                return Ok(report(Applied { made: Vec::new(), reported: steps }));
            }
            if let Some(held) = lease.take(shards, clock, by).await? {
                let work = bring_up(store, shards, topology, held.is_outdated());
                return held.run(work, clock).await.map(report);
            }
        }
        if !waits {
            tracing::info!(event = "schema_waiting", "another instance applies the schema");
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
async fn bring_up(
    store: &Store,
    shards: u32,
    topology: Topology,
    is_outdated: bool,
) -> Result<Applied, SchemaError> {
    let steps = compare_as(store, shards, topology, is_outdated).await?;
    let (made, reported): (Vec<_>, Vec<_>) = steps.into_iter().partition(Step::is_due);
    let wanted = definition::wanted(shards);
    if topology == Topology::Sharded && made.iter().any(Step::is_shard) {
        enable_sharding(store).await?;
    }
    let concerned = |wanted: &&Wanted| made.iter().any(|step| step.concerns(&wanted.name));
    let work: Vec<_> =
        wanted.iter().filter(concerned).map(|wanted| make(store, wanted, &made)).collect();
    stream::iter(work).buffer_unordered(MAX_CONCURRENT_COLLECTIONS).try_collect::<()>().await?;
    Ok(Applied { made, reported })
}

fn report(applied: Applied) -> Applied {
    if !applied.made.is_empty() {
        tracing::info!(event = "schema_applied", steps = applied.made.len(), "schema applied");
    }
    for step in &applied.made {
        tracing::debug!(event = "schema_applied", %step, "step applied");
    }
    for step in &applied.reported {
        tracing::warn!(event = "schema_differs", %step, "schema differs from its definition");
    }
    applied
}

async fn compare(store: &Store, shards: u32, topology: Topology) -> Result<Vec<Step>, SchemaError> {
    let wanted = definition::wanted(shards);
    let found = Found::read(store, &wanted, topology).await?;
    Ok(compare::differences(&wanted, &found))
}

/// As [`compare()`], but definitions that newer ones have superseded change nothing that is there.
async fn compare_as(
    store: &Store,
    shards: u32,
    topology: Topology,
    is_outdated: bool,
) -> Result<Vec<Step>, SchemaError> {
    let mut steps = compare(store, shards, topology).await?;
    if is_outdated {
        steps = steps.into_iter().map(Step::left_to_newer).collect();
    }
    Ok(steps)
}

async fn topology(store: &Store) -> Result<Topology, SchemaError> {
    let hello = within(store, store.database().run_command(doc! { "hello": 1 })).await;
    let hello = hello.map_err(SchemaError::Unreachable)?;
    let topology = Topology::of(&hello).ok_or(SchemaError::SingleServer)?;
    if matches!(hello.get_bool("isWritablePrimary"), Ok(false)) {
        return Err(SchemaError::Secondary);
    }
    Ok(topology)
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
