//! Accounts: one row each. One that nobody verified within a day counts as absent, whether its row
//! is still there or not.

mod addresses;
mod changes;
mod counts;
mod departed;
mod names;

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

pub use self::changes::{Taken, taken};
use crate::domain::accounts::{
    Account, Credentials, Emails, FormerEmail, NetworkKey, NewAccount, UNVERIFIED,
};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::text::Email;
use crate::domain::users::{PublicUser, User};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{binary, date, id, optional_date};
use crate::store::embedded::EmbeddedAttachment;

/// A row of `users`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id", with = "id")]
    id: UserId,
    /// Empty once deleted, as are the other texts.
    #[serde(default)]
    username: String,
    #[serde(default)]
    username_key: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    email_key: String,
    pending_email: Option<String>,
    /// Keys of the addresses that nobody else can have: its own, and those it gave up lately. Under
    /// a unique index, so that two accounts never hold the same address.
    #[serde(default)]
    address_keys: Vec<String>,
    /// Addresses that it gave up lately, the one replaced first at the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_emails: Vec<FormerRow>,
    verified: bool,
    /// Empty where no password opens it, until one is set by a mailed link.
    #[serde(default)]
    password_hash: String,
    picture: Option<EmbeddedAttachment>,
    /// Groups that it is in.
    group_count: i32,
    /// How often someone signed in.
    #[serde(default)]
    sign_ins: i64,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "optional_date", default)]
    deleted_at: Option<Timestamp>,
}

/// A [`FormerEmail`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FormerRow {
    email: String,
    key: String,
    #[serde(with = "date")]
    replaced_at: Timestamp,
}

impl Row {
    /// The row of a new account.
    pub fn new(account: &NewAccount, verified: bool, now: Timestamp) -> Self {
        Self {
            id: account.id,
            username: account.username.as_str().to_owned(),
            username_key: account.username.key(),
            email: account.email.as_str().to_owned(),
            email_key: account.email.key(),
            pending_email: None,
            address_keys: vec![account.email.key()],
            former_emails: Vec::new(),
            verified,
            password_hash: account.password_hash.clone(),
            picture: None,
            group_count: 0,
            sign_ins: 0,
            created_at: now,
            deleted_at: None,
        }
    }

    /// The same, in so many groups.
    pub fn in_groups(self, group_count: i32) -> Self {
        Self { group_count, ..self }
    }
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

impl From<Row> for Account {
    fn from(mut row: Row) -> Self {
        let former = std::mem::take(&mut row.former_emails);
        Self {
            username_key: std::mem::take(&mut row.username_key),
            emails: Emails {
                email: row.email.clone(),
                key: std::mem::take(&mut row.email_key),
                former: former.into_iter().map(FormerEmail::from).collect(),
            },
            sign_ins: row.sign_ins,
            user: row.into(),
        }
    }
}

impl From<FormerRow> for FormerEmail {
    fn from(FormerRow { email, key, replaced_at }: FormerRow) -> Self {
        Self { email, key, replaced_at }
    }
}

impl From<&FormerEmail> for FormerRow {
    fn from(former: &FormerEmail) -> Self {
        let FormerEmail { email, key, replaced_at } = former.clone();
        Self { email, key, replaced_at }
    }
}

/// The collection `users`, for one command.
pub struct Users<'a>(Table<'a, Row>);

impl<'a> Users<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The account.
    pub async fn find(self, user: UserId, now: Timestamp) -> Result<Option<Account>> {
        Ok(self.0.one(present(doc! { "_id": user }, now)).await?.map(Account::from))
    }

    /// The credentials of the account, unless no password opens it.
    pub async fn credentials(self, user: UserId, now: Timestamp) -> Result<Option<Credentials>> {
        self.credentials_by(doc! { "_id": user }, now).await
    }

    /// The credentials of the account that signs in with one of these addresses, which are of one
    /// mailbox, unless no password opens it.
    pub async fn credentials_by_email(
        self,
        keys: &[String],
        now: Timestamp,
    ) -> Result<Option<Credentials>> {
        self.credentials_by(doc! { "email_key": { "$in": keys } }, now).await
    }

    async fn credentials_by(self, which: Document, now: Timestamp) -> Result<Option<Credentials>> {
        let row = self.0.one(present(which, now)).await?;
        Ok(row.filter(|row| !row.password_hash.is_empty()).map(|row| {
            let password_hash = row.password_hash.clone();
            Credentials { user: row.into(), password_hash }
        }))
    }

    /// Whether an account has signed in with this address from this network before.
    pub async fn signs_in_from(
        self,
        email: &Email,
        network: NetworkKey,
        now: Timestamp,
    ) -> Result<bool> {
        let known = doc! { "email_key": email.key(), "networks": binary(network) };
        self.exists(present(known, now)).await
    }

    /// Whether there is any account, deleted ones included, but these.
    pub async fn any_but(self, own: &[UserId]) -> Result<bool> {
        self.exists(doc! { "_id": { "$nin": own.to_vec() } }).await
    }

    /// How these accounts look to others, in no order; those that do not exist are missing.
    pub async fn public(self, users: &[UserId]) -> Result<Vec<PublicUser>> {
        let known = doc! { "_id": { "$in": users.to_vec() }, "verified": true };
        Ok(self.0.all(known).await?.into_iter().map(PublicUser::from).collect())
    }

    /// Whether a file is the profile picture of this account, which uploaded it: nobody else can
    /// show it as theirs.
    pub async fn has_picture(self, uploader: UserId, file: AttachmentId) -> Result<bool> {
        let mut shown = active(&[uploader]);
        shown.insert("picture.id", file);
        self.exists(shown).await
    }

    async fn exists(self, filter: Document) -> Result<bool> {
        Ok(self.0.only::<Document>(doc! { "_id": 1 }).one(filter).await?.is_some())
    }
}

/// Accounts that exist: not deleted, and verified or young enough to become so.
fn present(mut filter: Document, now: Timestamp) -> Document {
    let young = doc! { "created_at": { "$gt": now.minus(UNVERIFIED) } };
    filter.insert("deleted_at", Bson::Null);
    filter.insert("$or", vec![doc! { "verified": true }, young]);
    filter
}

/// Those of some accounts that others can reach: verified, not deleted.
fn active(users: &[UserId]) -> Document {
    doc! { "_id": { "$in": users.to_vec() }, "verified": true, "deleted_at": null }
}
