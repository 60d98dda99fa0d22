//! The bytes of files that each account stores: a count in `users`, changed in the transaction that
//! makes a file ready or retires it. The count therefore always equals the sum over the account's
//! ready files.
//!
//! Accounts of earlier versions have no count. The first transaction that would change it adds up
//! the files instead. It writes the row in any case, so that two transactions that change the files
//! of one account conflict and neither misses the change of the other.

use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::store::{Store, Tx};

/// Refuses an upload before it begins if its account stores as much as it may. Only [`charge`] is
/// exact.
///
/// # Errors
/// `quota_exceeded`; or the store is away.
pub(super) async fn check(store: &Store, user: UserId, quota: Option<u64>) -> Result<()> {
    let Some(quota) = quota else { return Ok(()) };
    let stored = store.users().storage_bytes(user).await?.unwrap_or(0).max(0).unsigned_abs();
    if stored >= quota { Err(quota_exceeded()) } else { Ok(()) }
}

/// Adds a file that has just become ready in this transaction.
///
/// # Errors
/// `quota_exceeded` if the account then stores more than `quota` bytes; or the store is away.
pub(super) async fn charge(tx: &mut Tx, user: UserId, size: u64, quota: Option<u64>) -> Result<()> {
    let stored = change(tx, user, i64::try_from(size).map_err(Error::internal)?).await?;
    if quota.is_some_and(|quota| stored > quota) { Err(quota_exceeded()) } else { Ok(()) }
}

/// Subtracts a file that has just been retired in this transaction.
pub(super) async fn release(tx: &mut Tx, user: UserId, size: i64) -> Result<()> {
    change(tx, user, -size).await.map(|_| ())
}

/// Changes the count: how many bytes are stored now.
async fn change(tx: &mut Tx, user: UserId, by: i64) -> Result<u64> {
    let bytes = match tx.users().storage_bytes(user).await? {
        Some(bytes) => bytes + by,
        // The transaction sees its own change of the file.
        None => tx.attachments().bytes_of(user).await?,
    };
    let bytes = bytes.max(0);
    tx.users().set_storage_bytes(user, bytes).await?;
    Ok(bytes.unsigned_abs())
}

fn quota_exceeded() -> Error {
    Error::over_quota("storage quota exceeded; delete files to free space")
}
