//! Addresses that accounts gave up lately: their owners can have them back for a week, and nobody
//! else can take them meanwhile. `address_keys` of a row has the keys of its own address and of
//! these, under one unique index, so that two accounts never hold the same address.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::embedded::FormerEmail;
use super::store::within;
use super::users::{Row, Users, all_keys, present};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::Email;
use crate::domain::users::User;
use crate::error::Result;

/// How long a change of address can be undone, and the old address is held for that.
pub const UNDO_WINDOW: Duration = Duration::from_hours(7 * 24);

/// How long after a change only the old address can set a new password.
const RESET_BY_OLD: Duration = Duration::from_hours(72);

impl Row {
    /// Addresses that can still be had back, the one replaced first at the beginning.
    pub fn held(&self, now: Timestamp) -> Vec<FormerEmail> {
        let since = now.minus(UNDO_WINDOW);
        self.former_emails.iter().filter(|former| former.replaced_at > since).cloned().collect()
    }

    /// The address whose owner can set a new password, and its key. Of several that were replaced
    /// lately it is the first one: whoever changed an address in bad faith came after its owner.
    pub fn recovery(&self, now: Timestamp) -> (&str, &str) {
        let since = now.minus(RESET_BY_OLD);
        let former = self.former_emails.iter().find(|former| former.replaced_at > since);
        former.map_or((&self.email, &self.email_key), |former| (&former.email, &former.key))
    }
}

impl Users {
    /// Whether an account has this address, verified or not, or holds it after a change.
    pub async fn has_email(&self, email: &Email, now: Timestamp) -> Result<bool> {
        let either = vec![doc! { "email_key": { "$in": all_keys(email) } }, held(email, now)];
        self.exists(present(doc! { "$and": [{ "$or": either }] }, now)).await
    }

    /// Whether an account other than `but` was verified with this address, or holds it after a
    /// change.
    pub async fn others_have_email(
        &self,
        but: UserId,
        email: &Email,
        now: Timestamp,
    ) -> Result<bool> {
        let either = vec![doc! { "email_key": { "$in": all_keys(email) } }, held(email, now)];
        let others = doc! { "_id": { "$ne": but }, "verified": true, "$or": either };
        self.exists(others).await
    }

    /// The account whose password can be set anew by this address, and the address as its owner
    /// spelt it.
    pub async fn recoverable_by(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<Option<(User, String)>> {
        let keys = all_keys(email);
        let either =
            vec![doc! { "email_key": { "$in": &keys } }, doc! { "address_keys": email.key() }];
        let account = self.rows.find_one(present(doc! { "$and": [{ "$or": either }] }, now));
        let Some(row) = within(&self.rows, account).await? else { return Ok(None) };
        let (address, recovery) = row.recovery(now);
        let address = keys.iter().any(|key| key == recovery).then(|| address.to_owned());
        Ok(address.map(|address| (row.into(), address)))
    }

    /// Takes this address from an account that gave it up so long ago that it no longer holds it.
    pub async fn free_address(&self, email: &Email, now: Timestamp) -> Result<()> {
        let (stale, pull) = freeing(&email.key(), now);
        within(&self.rows, self.rows.update_many(stale, pull)).await?;
        Ok(())
    }
}

/// Accounts that list this address without a right to it any more, and the change that takes it.
pub(super) fn freeing(key: &str, now: Timestamp) -> (Document, Document) {
    let held =
        doc! { "$elemMatch": { "key": key, "replaced_at": { "$gt": now.minus(UNDO_WINDOW) } } };
    let stale = doc! {
        "address_keys": key, "email_key": { "$ne": key }, "former_emails": { "$not": held },
    };
    (stale, doc! { "$pull": { "address_keys": key, "former_emails": { "key": key } } })
}

/// An account that holds this address after a change.
fn held(email: &Email, now: Timestamp) -> Document {
    let since = now.minus(UNDO_WINDOW);
    let held = doc! { "$elemMatch": { "key": email.key(), "replaced_at": { "$gt": since } } };
    doc! { "address_keys": email.key(), "former_emails": held }
}

/// The keys that an account holds, each once, its own first.
pub(super) fn keys(own: &str, former: &[FormerEmail]) -> Vec<String> {
    let mut keys = vec![own.to_owned()];
    for former in former {
        if !keys.contains(&former.key) {
            keys.push(former.key.clone());
        }
    }
    keys
}
