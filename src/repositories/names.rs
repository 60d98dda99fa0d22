//! Names and addresses that nobody has any more: each is taken from the row that still holds it, by
//! a condition, when someone else wants it.

use mongodb::bson::{Document, doc};
use mongodb::options::Hint;

use super::held_names::NAME_HELD;
use super::store::within;
use super::users::{UNVERIFIED, Users, present};
use crate::domain::clock::Timestamp;
use crate::domain::text::{Email, Username};
use crate::error::Result;

impl Users {
    /// Whether an account has this name, or had it until it was deleted lately.
    pub async fn has_username(&self, name: &Username, now: Timestamp) -> Result<bool> {
        let kept = doc! { "deleted_at": { "$gt": now.minus(NAME_HELD) } };
        let either = vec![present(doc! {}, now), kept];
        self.exists(doc! { "username_key": name.key(), "$or": either }).await
    }

    /// Forgets an account that was not verified in time and still has this address.
    pub async fn forget_unverified_email(&self, email: &Email, now: Timestamp) -> Result<()> {
        self.forget_unverified(doc! { "email_key": email.key() }, now).await
    }

    /// Takes this name from an account that was not verified in time, or deleted long ago.
    pub async fn free_name(&self, name: &Username, now: Timestamp) -> Result<()> {
        let kept = old(doc! { "username_key": name.key() }, now);
        within(&self.rows, self.rows.update_many(kept, freed())).await?;
        self.forget_unverified(doc! { "username_key": name.key() }, now).await
    }

    /// Takes the names from all accounts that were deleted long ago.
    pub async fn free_old_names(&self, now: Timestamp) -> Result<()> {
        let kept = old(doc! { "username_key": { "$gt": "" } }, now);
        // Otherwise it might walk along the names of everyone.
        let index = Hint::Name("kept_name".to_owned());
        within(&self.rows, self.rows.update_many(kept, freed()).hint(index)).await?;
        Ok(())
    }

    async fn forget_unverified(&self, mut stale: Document, now: Timestamp) -> Result<()> {
        stale.insert("verified", false);
        stale.insert("created_at", doc! { "$lte": now.minus(UNVERIFIED) });
        within(&self.rows, self.rows.delete_one(stale)).await?;
        Ok(())
    }
}

/// Accounts that were deleted so long ago that others may have their names.
fn old(mut kept: Document, now: Timestamp) -> Document {
    kept.insert("deleted_at", doc! { "$type": "date", "$lte": now.minus(NAME_HELD) });
    kept
}

fn freed() -> Document {
    doc! { "$unset": { "username_key": "" } }
}
