//! Names of accounts: who has one, and names that nobody has any more. Such a name is taken from the
//! row that still has it, by a condition, when someone else wants it.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::{Users, present};
use crate::domain::accounts::{NAME_HELD, UNVERIFIED};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::text::{Email, Username};
use crate::domain::users::PublicUser;
use crate::error::Result;
use crate::store::bson::id;

impl Users<'_> {
    /// Whether an account has this name, or had it until it was deleted lately.
    pub async fn has_username(self, name: &Username, now: Timestamp) -> Result<bool> {
        let kept = doc! { "deleted_at": { "$gt": now.minus(NAME_HELD) } };
        let either = vec![present(doc! {}, now), kept];
        self.exists(doc! { "username_key": name.key(), "$or": either }).await
    }

    /// Verified accounts whose name begins with `prefix`, which is in lower case, in the order of
    /// their names, from the one after the name `after` on.
    pub async fn named(
        self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PublicUser>> {
        // Names are ASCII, so this is past each that begins so, and before any other.
        let end = format!("{prefix}\u{7f}");
        let mut range = doc! { "$gte": prefix, "$lt": end };
        if let Some(after) = after {
            range.insert("$gt", after);
        }
        let named = doc! { "username_key": range, "verified": true, "deleted_at": null };
        let rows = self.0.sorted(doc! { "username_key": 1 }).first(limit).all(named).await?;
        Ok(rows.into_iter().map(PublicUser::from).collect())
    }

    /// The active accounts with these names, by the key (lower case) of the name.
    pub async fn named_exactly(self, keys: &[&str]) -> Result<HashMap<String, UserId>> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "_id", with = "id")]
            id: UserId,
            username_key: String,
        }
        let named = doc! {
            "username_key": { "$in": keys.to_vec(), "$gt": "" },
            "verified": true,
            "deleted_at": null,
        };
        let found = self.0.only::<Named>(doc! { "username_key": 1 }).all(named).await?;
        Ok(found.into_iter().map(|row| (row.username_key, row.id)).collect())
    }

    /// Takes this name from an account that was deleted long ago.
    pub async fn free_name(self, name: &Username, now: Timestamp) -> Result<()> {
        let kept = old(doc! { "username_key": name.key() }, now);
        self.0.update_all(kept, freed()).await.map(|_| ())
    }

    /// Takes the names from all accounts that were deleted long ago.
    pub async fn free_old_names(self, now: Timestamp) -> Result<()> {
        let kept = old(doc! { "username_key": { "$gt": "" } }, now);
        // Otherwise it might walk along the names of everyone.
        self.0.by("kept_name").update_all(kept, freed()).await.map(|_| ())
    }

    /// Forgets an account that was not verified in time and still has this name.
    pub async fn forget_unverified_name(self, name: &Username, now: Timestamp) -> Result<()> {
        self.forget_unverified(doc! { "username_key": name.key() }, now).await
    }

    /// Forgets an account that was not verified in time and still has this address.
    pub async fn forget_unverified_email(self, email: &Email, now: Timestamp) -> Result<()> {
        self.forget_unverified(doc! { "email_key": email.key() }, now).await
    }

    async fn forget_unverified(self, mut stale: Document, now: Timestamp) -> Result<()> {
        stale.insert("verified", false);
        stale.insert("created_at", doc! { "$lte": now.minus(UNVERIFIED) });
        self.0.delete(stale).await.map(|_| ())
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
