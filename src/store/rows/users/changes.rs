//! Changes of accounts, each in the transaction of a rule.

use mongodb::bson::{Bson, Document, doc};

use super::{FormerRow, Row, Users, present};
use crate::domain::accounts::{
    Account, AccountChange, Credentials, EmailWish, Emails, NetworkKey, NewAccount,
};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::store::bson::{binary, serialized};
use crate::store::duplicate_of;
use crate::store::embedded::EmbeddedAttachment;

/// Networks that an account is known to sign in from: the latest ones.
const MAX_NETWORKS: i32 = 8;

/// The unique key that stood against a write of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There is an account of this id, deleted or not.
    Id,
    /// Another account has the address, or holds it.
    Email,
    /// Another account has the name.
    Username,
}

/// The unique key that stood against a write of an account, if that is the error.
#[must_use]
pub fn taken(error: &Error) -> Option<Taken> {
    match duplicate_of(error)?.as_str() {
        "email_key" | "address_keys" => Some(Taken::Email),
        "username_key" => Some(Taken::Username),
        "_id_" => Some(Taken::Id),
        _ => None,
    }
}

impl Users<'_> {
    /// Puts a new account there.
    ///
    /// # Errors
    /// One that [`taken`] knows, where a unique key stands against it.
    pub async fn insert(
        self,
        account: &NewAccount,
        verified: bool,
        now: Timestamp,
    ) -> Result<User> {
        let row = Row::new(account, verified, now);
        self.0.insert(row.clone()).await?;
        Ok(row.into())
    }

    /// Changes an account: the account after.
    ///
    /// # Errors
    /// One that [`taken`] knows, where a unique key stands against it.
    pub async fn set(self, user: UserId, change: &AccountChange) -> Result<Option<Account>> {
        self.set_fields(user, changed(change)).await
    }

    /// Notes that the owner of an account has shown to receive mail at its address: the account
    /// after.
    pub async fn verify(self, user: UserId) -> Result<Option<Account>> {
        self.set_fields(user, doc! { "verified": true }).await
    }

    /// Gives an account these addresses, and none that it waits for: the account after.
    ///
    /// # Errors
    /// One that [`taken`] knows, where a unique key stands against it.
    pub async fn set_emails(self, user: UserId, emails: &Emails) -> Result<Option<Account>> {
        self.set_fields(user, addresses(emails)).await
    }

    async fn set_fields(self, user: UserId, set: Document) -> Result<Option<Account>> {
        let row = self.0.change(doc! { "_id": user }, doc! { "$set": set }).await?;
        Ok(row.map(Account::from))
    }

    /// Gives an account these addresses; no password opens it from now on.
    ///
    /// # Errors
    /// One that [`taken`] knows, where a unique key stands against it.
    pub async fn restore_emails(self, user: UserId, emails: &Emails) -> Result<()> {
        let change = doc! { "$set": addresses(emails), "$unset": { "password_hash": "" } };
        self.0.update(doc! { "_id": user }, change).await.map(|_| ())
    }

    /// Withdraws the address that an account waits for. The count makes it a write in any case:
    /// transactions that read the account at the same time conflict with it.
    pub async fn withdraw_email(self, user: UserId) -> Result<()> {
        let withdrawn =
            doc! { "$set": { "pending_email": Bson::Null }, "$inc": { "links": 1_i64 } };
        self.0.update(doc! { "_id": user }, withdrawn).await.map(|_| ())
    }

    /// Counts a link that an account gets, so that of many at once each counts those before it: the
    /// account.
    pub async fn count_link(self, user: UserId, now: Timestamp) -> Result<Option<Account>> {
        let counted = doc! { "$inc": { "links": 1_i64 } };
        Ok(self.0.change(present(doc! { "_id": user }, now), counted).await?.map(Account::from))
    }

    /// Counts a sign-in, and remembers its network: the account, if this is still its password.
    pub async fn count_sign_in(
        self,
        known: &Credentials,
        network: NetworkKey,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        let counted = signed_in_from(network);
        Ok(self.0.change(unchanged(known, now), counted).await?.map(Account::from))
    }

    /// Replaces a password, and withdraws the address that the account waits for: the account, if
    /// this was still its password.
    pub async fn replace_password(
        self,
        known: &Credentials,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        let set = doc! { "$set": { "password_hash": hash, "pending_email": Bson::Null } };
        Ok(self.0.change(unchanged(known, now), set).await?.map(Account::from))
    }

    /// Sets the password of an account whose owner has shown to receive its mail, and withdraws the
    /// address that it waits for.
    pub async fn set_password(self, user: UserId, hash: &str) -> Result<()> {
        let set = doc! { "$set": {
            "password_hash": hash, "verified": true, "pending_email": Bson::Null,
        } };
        self.0.update(doc! { "_id": user }, set).await.map(|_| ())
    }

    /// Replaces a hash by another of the same password, unless the password was changed meanwhile.
    pub async fn renew_hash(self, known: &Credentials, renewed: &str) -> Result<()> {
        let old = doc! { "_id": known.user.id, "password_hash": &known.password_hash };
        let new = doc! { "$set": { "password_hash": renewed } };
        self.0.update(old, new).await.map(|_| ())
    }

    /// Forgets all accounts that asked for this address and were not verified.
    pub async fn delete_unverified(self, email_key: &str) -> Result<()> {
        let slower = doc! { "email_key": email_key, "verified": false };
        self.0.delete_all(slower).await.map(|_| ())
    }

    /// Leaves of an account only its tombstone: the account before, if this was still its password.
    /// A field that is not named here is gone.
    pub async fn erase(self, known: &Credentials, now: Timestamp) -> Result<Option<Account>> {
        let tombstone = vec![doc! { "$replaceWith": {
            "_id": "$_id",
            // Kept from others for a while.
            "username_key": "$username_key",
            // It is still shown, as a deleted one, where it has written.
            "verified": "$verified",
            // Counted down as it leaves them.
            "group_count": "$group_count",
            // Counted down as its files are collected.
            "storage_bytes": "$storage_bytes",
            "created_at": "$created_at",
            "deleted_at": now,
            "cleanup": true,
        } }];
        let before = self.0.change_from(unchanged(known, now), tombstone).await?;
        Ok(before.map(Account::from))
    }
}

/// The account while this is its password. A hash that was renewed since for its cost has the same
/// salt; one of another password has another.
fn unchanged(known: &Credentials, now: Timestamp) -> Document {
    // bcrypt's own text form: `$2b$12$`, 22 characters of salt, 31 of hash.
    let salt = known.password_hash.get(7..29).unwrap_or_default();
    let stored = doc! { "$substrBytes": ["$password_hash", 7, 22] };
    let same = doc! { "$eq": [stored, { "$literal": salt }] };
    present(doc! { "_id": known.user.id, "$expr": same }, now)
}

fn signed_in_from(network: NetworkKey) -> Vec<Document> {
    let network = binary(network);
    let others = doc! { "$filter": {
        "input": { "$ifNull": ["$networks", []] }, "as": "it",
        "cond": { "$ne": ["$$it", network.clone()] },
    } };
    let networks = doc! { "$concatArrays": [[network], others] };
    vec![doc! { "$set": {
        "sign_ins": { "$add": [{ "$ifNull": ["$sign_ins", 0_i64] }, 1_i64] },
        "networks": { "$slice": [networks, MAX_NETWORKS] },
    } }]
}

fn addresses(emails: &Emails) -> Document {
    let former: Vec<FormerRow> = emails.former.iter().map(FormerRow::from).collect();
    doc! {
        "email": &emails.email,
        "email_key": &emails.key,
        "address_keys": emails.keys(),
        "former_emails": serialized(&former),
        "pending_email": Bson::Null,
    }
}

fn changed(change: &AccountChange) -> Document {
    let mut set = Document::new();
    if let Some(name) = &change.username {
        set.insert("username", name.as_str());
        set.insert("username_key", name.key());
    }
    match &change.email {
        Some(EmailWish::Respell(email)) => {
            set.insert("email", email.as_str());
            set.insert("pending_email", Bson::Null);
        }
        Some(EmailWish::Await(email)) => {
            set.insert("pending_email", email.as_str());
        }
        None => {}
    }
    if let Some(picture) = &change.picture {
        let picture = picture.as_ref().map(EmbeddedAttachment::from);
        set.insert("picture", serialized(&picture));
    }
    set
}
