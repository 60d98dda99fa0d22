//! Tokens of mailed links: a row for each that is unused, under its hash.

use mongodb::bson::{Binary, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::mails::{LinkKind, MailedLink};
use crate::domain::text::Email;
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{binary, date, id, raw};

/// A row of `tokens`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id")]
    digest: Binary,
    kind: String,
    #[serde(with = "id")]
    user_id: UserId,
    email_key: String,
    #[serde(with = "date")]
    expires_at: Timestamp,
}

impl From<&MailedLink> for Row {
    fn from(link: &MailedLink) -> Self {
        Self {
            digest: raw(link.digest),
            kind: name(link.kind).to_owned(),
            user_id: link.user,
            email_key: link.email_key.clone(),
            expires_at: link.expires_at,
        }
    }
}

fn name(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Verify => "verify",
        LinkKind::Reset => "reset",
        LinkKind::Undo => "undo_email",
    }
}

/// The collection `tokens`, for one command.
pub struct Tokens<'a>(Table<'a, Row>);

impl<'a> Tokens<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Makes a link good.
    pub async fn insert(self, link: &MailedLink) -> Result<()> {
        self.0.insert(link.into()).await
    }

    /// Whether there is a token that can be used.
    pub async fn has(self, digest: [u8; 32], now: Timestamp) -> Result<bool> {
        let token = doc! { "_id": binary(digest), "expires_at": { "$gt": now } };
        Ok(self.0.one(token).await?.is_some())
    }

    /// The link of a token, while it is good.
    pub async fn find(
        self,
        kind: LinkKind,
        digest: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<MailedLink>> {
        let row = self.0.one(good(kind, digest, now)).await?;
        Ok(row.map(|row| link(row, kind, digest)))
    }

    /// Uses up a token: its link, if it was good.
    pub async fn take(
        self,
        kind: LinkKind,
        digest: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<MailedLink>> {
        let row = self.0.take(good(kind, digest, now)).await?;
        Ok(row.map(|row| link(row, kind, digest)))
    }

    /// Whether a user has an unused link to verify an address that is good past `at`.
    pub async fn lasts(self, user: UserId, email: &Email, at: Timestamp) -> Result<bool> {
        let mut verifying = of(user, LinkKind::Verify);
        verifying.extend(doc! { "email_key": email.key(), "expires_at": { "$gt": at } });
        Ok(self.0.one(verifying).await?.is_some())
    }

    /// How many unused links of a kind a user has.
    pub async fn count(self, user: UserId, kind: LinkKind, now: Timestamp) -> Result<u64> {
        let mut good = of(user, kind);
        good.insert("expires_at", doc! { "$gt": now });
        self.0.count(good).await
    }

    /// Withdraws all links of a user.
    pub async fn withdraw_all(self, user: UserId) -> Result<()> {
        self.0.delete_all(doc! { "user_id": user }).await.map(|_| ())
    }

    /// Withdraws a user's links of these kinds.
    pub async fn withdraw(self, user: UserId, kinds: &[LinkKind]) -> Result<()> {
        let kinds: Vec<&str> = kinds.iter().copied().map(name).collect();
        let links = doc! { "user_id": user, "kind": { "$in": kinds } };
        self.0.delete_all(links).await.map(|_| ())
    }

    /// Withdraws a user's links that verify an address.
    pub async fn withdraw_of_address(self, user: UserId, email_key: &str) -> Result<()> {
        let mut links = of(user, LinkKind::Verify);
        links.insert("email_key", email_key);
        self.0.delete_all(links).await.map(|_| ())
    }

    /// Withdraws a user's links that verify any address but this one.
    pub async fn withdraw_of_other_addresses(
        self,
        user: UserId,
        kept: Option<String>,
    ) -> Result<()> {
        let mut links = of(user, LinkKind::Verify);
        links.insert("email_key", doc! { "$ne": kept });
        self.0.delete_all(links).await.map(|_| ())
    }

    /// Withdraws all links of a user but those that undo a change of one of these addresses.
    pub async fn withdraw_but_undo(self, user: UserId, kept: &[&str]) -> Result<()> {
        let kept = doc! { "kind": name(LinkKind::Undo), "email_key": { "$in": kept.to_vec() } };
        self.0.delete_all(doc! { "user_id": user, "$nor": [kept] }).await.map(|_| ())
    }
}

fn of(user: UserId, kind: LinkKind) -> Document {
    doc! { "user_id": user, "kind": name(kind) }
}

/// The unused token of this kind and hash, while it is good.
fn good(kind: LinkKind, digest: [u8; 32], now: Timestamp) -> Document {
    doc! { "_id": binary(digest), "kind": name(kind), "expires_at": { "$gt": now } }
}

fn link(row: Row, kind: LinkKind, digest: [u8; 32]) -> MailedLink {
    let Row { user_id: user, email_key, expires_at, .. } = row;
    MailedLink { digest, kind, user, email_key, expires_at }
}
