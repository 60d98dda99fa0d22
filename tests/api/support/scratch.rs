//! An empty database of its own, for what is tested below the services.

use mongodb::Database;
use mongodb::bson::{Document, doc};
use natter::internals::domain::random_bytes;
use natter::internals::store::Store;

use super::app::{drop_database, service};

/// An empty database; it goes with this value.
pub struct Scratch {
    name: String,
    store: Store,
    database: Database,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop_database(service("NATTER_MONGODB__URI"), self.name.clone());
    }
}

impl Scratch {
    /// A database with nothing in it.
    pub async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let uri = service("NATTER_MONGODB__URI");
        let name = format!("natter-test-{}", u64::from_be_bytes(random_bytes()));
        let store = Store::new(&uri, &name).await.expect("a store");
        let client = mongodb::Client::with_uri_str(uri).await.expect("a client");
        Self { store, database: client.database(&name), name }
    }

    /// natter's way into it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// As another instance has it.
    pub async fn another_store(&self) -> Store {
        Store::new(&service("NATTER_MONGODB__URI"), &self.name).await.expect("a store")
    }

    /// The test's own way into it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The row that says how far the schema is.
    pub async fn meta(&self) -> Document {
        let meta = self.database.collection("meta");
        let row = meta.find_one(doc! { "_id": "schema" }).await.expect("an answer");
        row.expect("a row")
    }
}
