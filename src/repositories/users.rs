//! Accounts: one row each. One that nobody verified within a day counts as absent, whether its
//! row is still there or not.

use std::collections::HashMap;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, id, int, optional_date};
use super::embedded::{EmbeddedAttachment, FormerEmail};
use super::rows;
use super::store::{Collection, Store, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::text::Email;
use crate::domain::users::{PublicUser, User};
use crate::error::Result;

/// How long an account may stay unverified.
pub(super) const UNVERIFIED: Duration = Duration::from_hours(24);

/// The collection `users`.
#[derive(Debug, Clone)]
pub struct Users {
    pub(super) rows: Collection<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// Empty once deleted, as are the other texts.
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub username_key: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub email_key: String,
    pub pending_email: Option<String>,
    /// Keys of the addresses that nobody else can have: its own, and those it gave up lately.
    #[serde(default)]
    pub address_keys: Vec<String>,
    /// Addresses that it gave up lately, the one replaced first at the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_emails: Vec<FormerEmail>,
    pub verified: bool,
    /// Empty where no password opens it, until one is set by a mailed link.
    #[serde(default)]
    pub password_hash: String,
    pub picture: Option<EmbeddedAttachment>,
    /// Groups that it is in.
    pub group_count: i32,
    /// How often someone signed in.
    #[serde(default)]
    pub sign_ins: i64,
    #[serde(with = "date")]
    pub created_at: Timestamp,
    #[serde(with = "optional_date", default)]
    pub deleted_at: Option<Timestamp>,
}

impl Row {
    /// The address that it waits for.
    pub fn pending(&self) -> Option<Email> {
        Email::parse(self.pending_email.as_deref()?).ok()
    }
}

/// The key of a network: a keyed hash, so that no list of addresses lies here.
pub type NetworkKey = [u8; 16];

/// What an account is recognised by.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Whose they are.
    pub user: User,
    /// bcrypt's own text form.
    pub password_hash: String,
}

impl Credentials {
    /// Finds the account while this is its password. A hash that was renewed since for its cost
    /// has the same salt; one of another password has another.
    pub(super) fn unchanged(&self, now: Timestamp) -> Document {
        // bcrypt's own text form: `$2b$12$`, 22 characters of salt, 31 of hash.
        let salt = self.password_hash.get(7..29).unwrap_or_default();
        let stored = doc! { "$substrBytes": ["$password_hash", 7, 22] };
        let same = doc! { "$eq": [stored, { "$literal": salt }] };
        present(doc! { "_id": self.user.id, "$expr": same }, now)
    }
}

impl Users {
    /// The accounts of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: rows::users::Users::collection(store) }
    }

    /// The account, as its owner sees it.
    pub async fn find(&self, user: UserId, now: Timestamp) -> Result<Option<User>> {
        let row = self.rows.find_one(present(doc! { "_id": user }, now));
        Ok(within(&self.rows, row).await?.map(User::from))
    }

    /// The account that signs in with this address, unless no password opens it.
    pub async fn by_email(&self, email: &Email, now: Timestamp) -> Result<Option<Credentials>> {
        let known = self.credentials(present(doc! { "email_key": email.key() }, now)).await?;
        let former = email.former_keys();
        if known.is_some() || former.is_empty() {
            return Ok(known);
        }
        self.credentials(present(doc! { "email_key": { "$in": former } }, now)).await
    }

    /// What an account is recognised by.
    pub async fn credentials_of(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Option<Credentials>> {
        self.credentials(present(doc! { "_id": user }, now)).await
    }

    /// Replaces a hash by another of the same password, unless the password was changed meanwhile.
    pub async fn renew_hash(&self, known: &Credentials, renewed: &str) -> Result<()> {
        let old = doc! { "_id": known.user.id, "password_hash": &known.password_hash };
        let new = doc! { "$set": { "password_hash": renewed } };
        within(&self.rows, self.rows.update_one(old, new)).await.map(|_| ())
    }

    /// Whether an account has signed in with this address from this network before.
    pub async fn signs_in_from(
        &self,
        email: &Email,
        network: NetworkKey,
        now: Timestamp,
    ) -> Result<bool> {
        let known = doc! { "email_key": email.key(), "networks": binary(network) };
        self.exists(present(known, now)).await
    }

    async fn credentials(&self, filter: Document) -> Result<Option<Credentials>> {
        let row = within(&self.rows, self.rows.find_one(filter)).await?;
        Ok(row.filter(|row| !row.password_hash.is_empty()).map(|row| {
            let password_hash = row.password_hash.clone();
            Credentials { user: row.into(), password_hash }
        }))
    }

    /// Whether there is any account, deleted ones included, but these.
    pub async fn any_but(&self, own: &[UserId]) -> Result<bool> {
        self.exists(doc! { "_id": { "$nin": own.to_vec() } }).await
    }

    pub(super) async fn exists(&self, filter: Document) -> Result<bool> {
        let rows = self.rows.clone_with_type::<Document>();
        Ok(within(&self.rows, rows.find_one(filter).projection(doc! { "_id": 1 })).await?.is_some())
    }

    /// Verified accounts whose name begins with `prefix`, which is in lower case, in the order of
    /// their names, from the one after the name `after` on.
    pub async fn named(
        &self,
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
        let rows = self.rows.find(named).sort(doc! { "username_key": 1 });
        let limit = int(limit);
        Ok(all(&self.rows, rows.limit(limit)).await?.into_iter().map(PublicUser::from).collect())
    }

    /// How these accounts look to others, in no order; those that do not exist are missing.
    pub async fn public(&self, users: &[UserId]) -> Result<Vec<PublicUser>> {
        let known = doc! { "_id": { "$in": users.to_vec() }, "verified": true };
        Ok(all(&self.rows, self.rows.find(known))
            .await?
            .into_iter()
            .map(PublicUser::from)
            .collect())
    }

    /// Whether a file is the profile picture of this account, which uploaded it: nobody else can
    /// show it as theirs.
    pub async fn has_picture(&self, uploader: UserId, file: AttachmentId) -> Result<bool> {
        let shown = doc! {
            "_id": uploader, "verified": true, "deleted_at": null, "picture.id": file,
        };
        let rows = self.rows.clone_with_type::<Document>();
        Ok(within(&self.rows, rows.find_one(shown).projection(doc! { "_id": 1 })).await?.is_some())
    }

    /// Whose names these are, of those who can be found; by the key (lower case) of the name.
    pub async fn named_exactly(&self, keys: &[&str]) -> Result<HashMap<String, UserId>> {
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
        let rows = self.rows.clone_with_type::<Named>();
        let found =
            all(&self.rows, rows.find(named).projection(doc! { "username_key": 1 })).await?;
        Ok(found.into_iter().map(|row| (row.username_key, row.id)).collect())
    }
}

/// Under which keys an account may have an address: the former ones go as
/// [`Accounts::renew_email_keys`](super::accounts::Accounts::renew_email_keys) comes to them.
pub(super) fn all_keys(email: &Email) -> Vec<String> {
    [vec![email.key()], email.former_keys()].concat()
}

/// Accounts that are there: not deleted, and verified or young enough to become so.
pub(super) fn present(mut filter: Document, now: Timestamp) -> Document {
    filter.insert("deleted_at", Bson::Null);
    filter.insert("$or", standing(now));
    filter
}

/// Either of which an account must be: verified, or young enough to become so.
fn standing(now: Timestamp) -> Vec<Document> {
    let young = doc! { "created_at": { "$gt": now.minus(UNVERIFIED) } };
    vec![doc! { "verified": true }, young]
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            username: row.username,
            email: row.email,
            pending_email: row.pending_email,
            verified: row.verified,
            profile_picture: row.picture.map(Into::into),
            created_at: row.created_at,
        }
    }
}

impl From<Row> for PublicUser {
    fn from(row: Row) -> Self {
        let deleted = row.deleted_at.is_some();
        Self {
            id: row.id,
            username: (!deleted).then_some(row.username),
            profile_picture: row.picture.filter(|_| !deleted).map(Into::into),
            deleted,
        }
    }
}
