//! The highest cost of bcrypt that a database was ever used with, in `meta`: no hash in it costs
//! more.

use mongodb::bson::doc;
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::{Collection, META, Store, duplicate, within_raw};
use crate::error::{Error, Result};

/// The row `passwords` of `meta`.
#[derive(Debug, Deserialize)]
struct Row {
    highest_cost: i32,
}

/// The highest cost of a store.
#[derive(Debug, Clone)]
pub struct Costs {
    rows: Collection<Row>,
}

impl Costs {
    /// The highest cost of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection(META) }
    }

    /// Remembers that there will be hashes of this cost, before there is one; the highest so far.
    pub async fn raise(&self, cost: u32) -> Result<u32> {
        let cost = i32::try_from(cost).map_err(Error::internal)?;
        loop {
            let higher = doc! { "$max": { "highest_cost": cost } };
            let raised = self.rows.find_one_and_update(doc! { "_id": "passwords" }, higher);
            let raised = raised.upsert(true).return_document(ReturnDocument::After);
            match within_raw(&self.rows, raised).await? {
                // Two made the row at once: the other one is there now.
                Err(error) if duplicate(&error).is_some() => {}
                row => {
                    let highest = row?.map_or(cost, |row| row.highest_cost);
                    return u32::try_from(highest).map_err(Error::internal);
                }
            }
        }
    }
}
