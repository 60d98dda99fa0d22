//! The signing key, where the settings give none: made once, kept for all instances.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use mongodb::bson::{Document, doc};

use super::bson::binary;
use super::{Collection, Store, duplicate, within, within_raw};
use crate::error::{Error, Result};

/// The collection `keys`.
#[derive(Debug, Clone)]
pub struct Keys {
    rows: Collection<Document>,
}

impl Keys {
    /// The keys of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("keys") }
    }

    /// The Ed25519 signing key as PKCS#8 (DER). Of instances that start together on an empty
    /// store, the first to insert has made it for all.
    ///
    /// # Errors
    /// When the store is away or holds something else under that name.
    pub async fn signing_key(&self) -> Result<Vec<u8>> {
        if let Some(key) = self.stored().await? {
            return Ok(key);
        }
        let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|error| Error::internal(error.to_string()))?;
        let row = doc! { "_id": "signing", "pkcs8": binary(fresh.as_ref()) };
        match within_raw(&self.rows, self.rows.insert_one(row)).await? {
            Err(error) if duplicate(&error).is_none() => return Err(error.into()),
            _ => {}
        }
        self.stored().await?.ok_or_else(|| Error::internal("the signing key is not kept"))
    }

    async fn stored(&self) -> Result<Option<Vec<u8>>> {
        let row = within(&self.rows, self.rows.find_one(doc! { "_id": "signing" })).await?;
        row.map(|row| row.get_binary_generic("pkcs8").cloned().map_err(Error::internal)).transpose()
    }
}
