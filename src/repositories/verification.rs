//! Using the token of a mailed link: who has shown to own an address gets it.

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

use super::accounts::{Accounts, conflict};
use super::addresses::{freeing, keys};
use super::bson::serialized;
use super::embedded::FormerEmail;
use super::store::Tx;
use super::users::present;
use super::{tokens, users};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;
use crate::domain::users::{User, email_taken};
use crate::error::{Error, Result};

impl Accounts {
    /// Uses a token: the account it belongs to has the address it was mailed to from now on, and
    /// is verified; a replaced address is told. `None` if the token is not good, or the account
    /// no longer wants that address.
    ///
    /// # Errors
    /// `email_taken` when another account was verified with the address first; or the store is
    /// away.
    pub async fn verify(
        &self,
        digest: [u8; 32],
        now: Timestamp,
        told_until: Timestamp,
    ) -> Result<Option<User>> {
        let this = self.clone();
        let body = async move |tx: &mut Tx| {
            let token = tokens::good(tokens::VERIFY, digest, now);
            let used = this.tokens.rows.find_one_and_delete(token).session(tx.session()).await?;
            let Some(token) = used else { return Ok(None) };
            let owner = present(doc! { "_id": token.user_id }, now);
            let owner = this.users.rows.find_one(owner).session(tx.session()).await?;
            let user = match owner {
                None => return this.lost(&token, tx).await.map(|()| None),
                Some(row) if row.email_key == token.email_key && !row.verified => {
                    this.confirm(row.id, doc! { "verified": true }, tx).await?
                }
                Some(row) if wants(&row, &token) => {
                    let told = this.replace_email(row, now, told_until, tx).await?;
                    Some(told)
                }
                Some(_) => None,
            };
            let twins = doc! {
                "user_id": token.user_id, "kind": tokens::VERIFY, "email_key": token.email_key,
            };
            this.tokens.rows.delete_many(twins).session(tx.session()).await?;
            Ok(user.map(User::from))
        };
        self.store.transact(body).await
    }

    /// Tells the owner of a token whose account is gone why: someone else was faster.
    async fn lost(&self, token: &tokens::Row, tx: &mut Tx) -> Result<()> {
        let taken = doc! { "email_key": &token.email_key, "verified": true };
        match self.users.rows.find_one(taken).session(tx.session()).await? {
            Some(_) => Err(email_taken()),
            None => Ok(()),
        }
    }

    async fn confirm(
        &self,
        user: UserId,
        set: Document,
        tx: &mut Tx,
    ) -> Result<Option<users::Row>> {
        let row = self.users.rows.find_one_and_update(doc! { "_id": user }, doc! { "$set": set });
        let row = row.return_document(ReturnDocument::After).session(tx.session()).await;
        row.map_err(conflict)
    }

    /// Gives an account the address that it waited for; it holds the old one for a while. Accounts that asked for the address and
    /// were not verified first lose it, and with it all they are.
    async fn replace_email(
        &self,
        row: users::Row,
        now: Timestamp,
        told_until: Timestamp,
        tx: &mut Tx,
    ) -> Result<users::Row> {
        let gone = || Error::internal("an account vanished within a transaction");
        let new = row.pending().ok_or_else(gone)?;
        let slower = doc! { "email_key": new.key(), "verified": false };
        self.users.rows.delete_many(slower).session(tx.session()).await?;
        let (stale, pull) = freeing(&new.key(), now);
        self.users.rows.update_many(stale, pull).session(tx.session()).await?;
        let mut former = row.held(now);
        let (email, key) = (row.email.clone(), row.email_key.clone());
        former.push(FormerEmail { email, key, replaced_at: now });
        let set = doc! {
            "email": new.as_str(),
            "email_key": new.key(),
            "address_keys": keys(&new.key(), &former),
            "former_emails": serialized(&former),
            "pending_email": Bson::Null,
        };
        let resets = doc! { "user_id": row.id, "kind": tokens::RESET };
        self.tokens.rows.delete_many(resets).session(tx.session()).await?;
        let changed = self.confirm(row.id, set, tx).await?.ok_or_else(gone)?;
        if let Ok(old) = Email::parse(&row.email) {
            let mail =
                Mail { kind: MailKind::EmailChanged, to: old, username: row.username, nonce: None };
            let how = Enqueue::now(now).of_user(row.id).expires_at(told_until);
            tx.jobs().enqueue(&mail, how).await?;
        }
        Ok(changed)
    }
}

/// Whether the account waits for the address that the token was mailed to.
fn wants(row: &users::Row, token: &tokens::Row) -> bool {
    row.verified && row.pending().is_some_and(|pending| pending.key() == token.email_key)
}
