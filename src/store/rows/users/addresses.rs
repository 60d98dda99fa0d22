//! Addresses of accounts: their own, and those that they gave up lately. Their owners can have a
//! former address back for a week, and nobody else can take it meanwhile.

use mongodb::bson::{Document, doc};

use super::{Users, present};
use crate::domain::accounts::{Account, UNDO_WINDOW};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::Email;
use crate::error::Result;

impl Users<'_> {
    /// Whether an account has this address, verified or not, or holds it after a change.
    pub async fn has_email(self, email: &Email, now: Timestamp) -> Result<bool> {
        self.exists(present(doc! { "$and": [has_or_holds(email, now)] }, now)).await
    }

    /// Whether an account other than `but` was verified with this address, or holds it after a
    /// change.
    pub async fn others_have_email(
        self,
        but: UserId,
        email: &Email,
        now: Timestamp,
    ) -> Result<bool> {
        let mut others = doc! { "_id": { "$ne": but }, "verified": true };
        others.extend(has_or_holds(email, now));
        self.exists(others).await
    }

    /// The account that has this address or holds it after a change.
    pub async fn find_by_email(self, email: &Email, now: Timestamp) -> Result<Option<Account>> {
        let either = vec![
            doc! { "email_key": { "$in": email.all_keys() } },
            doc! { "address_keys": email.key() },
        ];
        let account = self.0.one(present(doc! { "$and": [{ "$or": either }] }, now));
        Ok(account.await?.map(Account::from))
    }

    /// Whether an account was verified with the address of this key.
    pub async fn has_verified(self, email_key: &str) -> Result<bool> {
        self.exists(doc! { "email_key": email_key, "verified": true }).await
    }

    /// Takes the address of this key from accounts that gave it up so long ago that they no longer
    /// hold it.
    pub async fn free_address(self, key: &str, now: Timestamp) -> Result<()> {
        let since = now.minus(UNDO_WINDOW);
        let held = doc! { "$elemMatch": { "key": key, "replaced_at": { "$gt": since } } };
        let stale = doc! {
            "address_keys": key, "email_key": { "$ne": key }, "former_emails": { "$not": held },
        };
        let pull = doc! { "$pull": { "address_keys": key, "former_emails": { "key": key } } };
        self.0.update_all(stale, pull).await.map(|_| ())
    }
}

/// Accounts that have this address, or hold it after a change.
fn has_or_holds(email: &Email, now: Timestamp) -> Document {
    let since = now.minus(UNDO_WINDOW);
    let held = doc! { "$elemMatch": { "key": email.key(), "replaced_at": { "$gt": since } } };
    doc! { "$or": [
        { "email_key": { "$in": email.all_keys() } },
        { "address_keys": email.key(), "former_emails": held },
    ] }
}
