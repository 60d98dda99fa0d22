//! How many bytes of files each account stores: a count in `users`, changed in the transaction
//! that makes a file ready or ends it. So it is the sum over the account's ready files, whatever
//! crashes in between.
//!
//! An account from before there was this count has none. The first transaction that would change
//! the count adds up the files instead. It writes the row in any case, so that two transactions
//! that change the files of one account conflict and neither adds up what the other changes.

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use serde::Deserialize;

use crate::domain::ids::UserId;
use crate::error::Result;
use crate::repositories::store::{Collection, Store, Tx, within};

/// The counts in `users`, and the files that they count.
#[derive(Debug, Clone)]
pub(in crate::repositories) struct Storage {
    users: Collection<Count>,
    files: Collection<Document>,
}

#[derive(Debug, Deserialize)]
struct Count {
    storage_bytes: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Sum {
    bytes: i64,
}

impl Storage {
    pub fn new(store: &Store) -> Self {
        Self { users: store.collection("users"), files: store.collection("attachments") }
    }

    /// Changes the count by a file that has just become ready or has just ended in this
    /// transaction: how many bytes are stored now.
    pub async fn change(&self, tx: &mut Tx, user: UserId, by: i64) -> Result<u64, DriverError> {
        let row = doc! { "_id": user };
        let count = self.users.find_one(row.clone()).projection(doc! { "storage_bytes": 1 });
        let count = count.session(tx.session()).await?.and_then(|count| count.storage_bytes);
        let bytes = match count {
            Some(bytes) => bytes + by,
            // The transaction sees its own change of the file.
            None => self.sum(tx, user).await?,
        };
        let bytes = bytes.max(0);
        let change = doc! { "$set": { "storage_bytes": bytes } };
        self.users.update_one(row, change).session(tx.session()).await?;
        Ok(bytes.unsigned_abs())
    }

    /// How many bytes are stored by the last count.
    pub async fn counted(&self, user: UserId) -> Result<u64> {
        let count = self.users.find_one(doc! { "_id": user });
        let count = within(&self.users, count.projection(doc! { "storage_bytes": 1 })).await?;
        Ok(count.and_then(|count| count.storage_bytes).unwrap_or(0).max(0).unsigned_abs())
    }

    async fn sum(&self, tx: &mut Tx, user: UserId) -> Result<i64, DriverError> {
        let own = doc! { "$match": { "uploader": user, "state": "ready" } };
        let sum = doc! { "$group": { "_id": null, "bytes": { "$sum": { "$toLong": "$size" } } } };
        let sums = self.files.aggregate([own, sum]).with_type::<Sum>().session(tx.session());
        let mut sums = sums.await?;
        Ok(sums.stream(tx.session()).try_next().await?.map_or(0, |sum| sum.bytes))
    }
}
