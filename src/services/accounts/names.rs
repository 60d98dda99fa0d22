//! Names that accounts give up: for a while nobody but their former owner may have them.

use crate::domain::accounts::NAME_HELD;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::Username;
use crate::domain::users::username_taken;
use crate::error::{Error, Result};
use crate::store::rows::held_names::HeldName;
use crate::store::{Store, Tx};

/// Names that one account may hold at once: otherwise it could take all good names from everyone.
const MAX_HELD: usize = 30;

/// Takes a name from an account that was deleted long ago, or was not verified in time.
pub(in crate::services) async fn free(
    store: &Store,
    name: &Username,
    now: Timestamp,
) -> Result<()> {
    store.users().free_name(name, now).await?;
    store.users().forget_unverified_name(name, now).await
}

/// Takes a name for an account, in the transaction that gives it the name.
///
/// # Errors
/// `username_taken` if it is held for someone else.
pub(in crate::services) async fn claim(
    tx: &mut Tx,
    name: &Username,
    user: UserId,
    now: Timestamp,
) -> Result<()> {
    let key = name.key();
    match tx.held_names().find(&key).await? {
        None => Ok(()),
        Some(held) if held.owner != user && held.until > now => Err(username_taken()),
        Some(_) => tx.held_names().delete(&key).await,
    }
}

/// Holds a name that an account gives up, in the transaction that takes it from there.
///
/// # Errors
/// `rate_limited` if the account then holds too many.
pub(in crate::services) async fn hold(
    tx: &mut Tx,
    key: String,
    owner: UserId,
    now: Timestamp,
) -> Result<()> {
    tx.held_names().put(HeldName { key, owner, until: now.plus(NAME_HELD) }).await?;
    let held = tx.held_names().of(owner, now, MAX_HELD + 1).await?;
    match held.first() {
        Some(oldest) if held.len() > MAX_HELD => {
            Err(Error::limited("rate_limited", oldest.until.since(now)))
        }
        _ => Ok(()),
    }
}
