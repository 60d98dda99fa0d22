//! What the database has: collections, their options, their indexes, how they are spread.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{Document, doc};

use super::MAX_CONCURRENT_COLLECTIONS;
use super::definition::{Wanted, name_of};
use crate::error::Result;
use crate::store::{Store, all};

/// What an index has besides its definition.
const ADDED_BY_THE_SERVER: [&str; 3] = ["v", "ns", "background"];

/// What stands behind `mongodb.uri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    ReplicaSet,
    Sharded,
}

impl Topology {
    /// Reads the answer to `hello`; `None` for a server of its own.
    pub fn of(hello: &Document) -> Option<Self> {
        if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            Some(Self::Sharded)
        } else {
            hello.contains_key("setName").then_some(Self::ReplicaSet)
        }
    }
}

/// A collection as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Existing {
    pub options: Document,
    /// Those of `wanted` collections only, without the one on `_id`.
    pub indexes: Vec<Document>,
    pub shard_key: Option<Document>,
}

/// A database as it is.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub topology: Topology,
    /// By name, without the server's own.
    pub collections: BTreeMap<String, Existing>,
}

impl Found {
    /// Reads what there is of the `wanted`, and the names of all else.
    pub async fn read(store: &Store, wanted: &[Wanted], topology: Topology) -> Result<Self> {
        let mut collections = collections(store).await?;
        let known = wanted.iter().map(|wanted| &wanted.name);
        let there: Vec<_> = known.filter(|name| collections.contains_key(*name)).cloned().collect();
        let indexes: Vec<_> = stream::iter(there)
            .map(async |name| indexes(store, &name).await.map(|indexes| (name, indexes)))
            .buffer_unordered(MAX_CONCURRENT_COLLECTIONS)
            .try_collect()
            .await?;
        for (name, indexes) in indexes {
            collections.entry(name).or_default().indexes = indexes;
        }
        if topology == Topology::Sharded {
            for (name, key) in shard_keys(store).await? {
                collections.entry(name).or_default().shard_key = Some(key);
            }
        }
        Ok(Self { topology, collections })
    }
}

async fn collections(store: &Store) -> Result<BTreeMap<String, Existing>> {
    let list = doc! { "listCollections": 1, "cursor": { "batchSize": 1000 } };
    let rows: Vec<Document> = all(store, store.database().run_cursor_command(list)).await?;
    let named = rows.into_iter().filter_map(|row| {
        let name = row.get_str("name").ok().filter(|name| !name.starts_with("system."))?;
        let options = row.get_document("options").cloned().unwrap_or_default();
        Some((name.to_owned(), Existing { options, ..Existing::default() }))
    });
    Ok(named.collect())
}

async fn indexes(store: &Store, collection: &str) -> Result<Vec<Document>> {
    let list = doc! { "listIndexes": collection, "cursor": { "batchSize": 100 } };
    let mut rows: Vec<Document> = all(store, store.database().run_cursor_command(list)).await?;
    rows.retain(|index| name_of(index) != "_id_");
    for index in &mut rows {
        for added in ADDED_BY_THE_SERVER {
            index.remove(added);
        }
    }
    Ok(rows)
}

/// Shard keys by collection, from the cluster's own records.
async fn shard_keys(store: &Store) -> Result<Vec<(String, Document)>> {
    let prefix = format!("{}.", store.database().name());
    // `.` sorts right before `/`: everything that begins with the prefix.
    let end = format!("{}/", store.database().name());
    let find = doc! {
        "find": "collections",
        "filter": { "_id": { "$gte": &prefix, "$lt": end } },
        "batchSize": 1000,
    };
    let rows: Vec<Document> = all(store, store.config().run_cursor_command(find)).await?;
    let keys = rows.iter().filter_map(|row| {
        let name = row.get_str("_id").ok()?.strip_prefix(&prefix)?;
        Some((name.to_owned(), row.get_document("key").ok()?.clone()))
    });
    Ok(keys.collect())
}
