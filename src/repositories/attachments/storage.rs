//! How many bytes of files each account stores: a count in `users`, changed in the transaction
//! that makes a file ready or ends it. So it is the sum over the account's ready files, whatever
//! crashes in between.
//!
//! An account from before there was this count has none. The first transaction that would change
//! the count adds up the files instead. It writes the row in any case, so that two transactions
//! that change the files of one account conflict and neither adds up what the other changes.

use mongodb::bson::doc;
use serde::Deserialize;

use super::FILES;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::repositories::store::Tx;

#[derive(Debug, Deserialize)]
struct Sum {
    bytes: i64,
}

/// Changes the count by a file that has just become ready or has just ended in this transaction:
/// how many bytes are stored now.
pub(in crate::repositories) async fn change(tx: &mut Tx, user: UserId, by: i64) -> Result<u64> {
    let bytes = match tx.users().storage_bytes(user).await? {
        Some(bytes) => bytes + by,
        // The transaction sees its own change of the file.
        None => sum(tx, user).await?,
    };
    let bytes = bytes.max(0);
    tx.users().set_storage_bytes(user, bytes).await?;
    Ok(bytes.unsigned_abs())
}

async fn sum(tx: &mut Tx, user: UserId) -> Result<i64> {
    let own = doc! { "$match": { "uploader": user, "state": "ready" } };
    let sum = doc! { "$group": { "_id": null, "bytes": { "$sum": { "$toLong": "$size" } } } };
    let sums = tx.table::<Sum>(FILES).aggregate(vec![own, sum]).await?;
    Ok(sums.first().map_or(0, |sum| sum.bytes))
}
