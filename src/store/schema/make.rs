//! The commands that make collections and indexes, and change validators.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;

use super::SchemaError;
use super::definition::{Wanted, validation};
use super::step::Step;
use crate::store::{Store, server_code, within_limit};

/// Makes what the steps say about one collection.
pub(super) async fn make(
    store: &Store,
    wanted: &Wanted,
    steps: &[Step],
) -> Result<(), SchemaError> {
    let mine = || steps.iter().filter(|step| step.concerns(&wanted.name));
    if mine().any(|step| matches!(step, Step::CreateCollection { .. })) {
        let mut create = doc! { "create": &wanted.name };
        create.extend(wanted.options.clone());
        command(store, create, || format!("make collection {}", wanted.name)).await?;
    }
    if mine().any(Step::is_change) {
        let mut change = doc! { "collMod": &wanted.name };
        for (option, default) in validation() {
            let value = wanted.options.get(option).cloned().unwrap_or(default);
            change.insert(option, value);
        }
        command(store, change, || format!("change the validator of {}", wanted.name)).await?;
    }
    let missing: Vec<Document> = mine().filter_map(|step| wanted.missing_index(step)).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().filter_map(|i| i.get_str("name").ok()).collect();
        let what = format!("make index {} of {}", names.join(", "), wanted.name);
        let create = doc! { "createIndexes": &wanted.name, "indexes": missing };
        command(store, create, || what).await?;
    }
    if let Some(key) = wanted.shard_key.as_ref().filter(|_| mine().any(Step::is_shard)) {
        let name = format!("{}.{}", store.database().name(), wanted.name);
        let shard = doc! { "shardCollection": name, "key": key.clone() };
        let what = || format!("shard collection {}", wanted.name);
        refused(unhurried(store, store.admin().run_command(shard)).await?, what)?;
    }
    Ok(())
}

/// Lets collections of this database be spread over the shards.
pub(super) async fn enable_sharding(store: &Store) -> Result<(), SchemaError> {
    let command = doc! { "enableSharding": store.database().name() };
    refused(unhurried(store, store.admin().run_command(command)).await?, || {
        "shard a database".to_owned()
    })
}

/// Sends one command that waits for a majority. It has no deadline, since an index over data that
/// is there takes its time: the lease's renewal notices when the server is gone.
async fn command(
    store: &Store,
    mut command: Document,
    what: impl FnOnce() -> String,
) -> Result<(), SchemaError> {
    command.insert("writeConcern", doc! { "w": "majority" });
    refused(unhurried(store, store.database().run_command(command)).await?, what)
}

/// Longer than any index takes.
const UNHURRIED: Duration = Duration::from_hours(24 * 365);

async fn unhurried(
    store: &Store,
    call: impl IntoFuture<Output = Result<Document, DriverError>>,
) -> Result<Result<Document, DriverError>, SchemaError> {
    Ok(within_limit(store, UNHURRIED, call).await?)
}

fn refused(
    outcome: Result<Document, DriverError>,
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
