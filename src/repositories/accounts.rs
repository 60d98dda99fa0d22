//! What changes an account together with its mailed tokens and its mails: one transaction each,
//! so that no account waits for a mail that was never queued.

use mongodb::ClientSession;
use mongodb::bson::{Binary, doc, spec::BinarySubtype};
use mongodb::options::ReturnDocument;

use super::outbox::{self, Outbox};
use super::store::{Abort, Store, duplicate, failed, within_raw};
use super::tokens::{self, Tokens};
use super::users::{self, Users, email_taken, present, username_taken};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::mails::Mail;
use crate::domain::text::{Email, Username};
use crate::domain::users::User;
use crate::error::{Error, Result};

/// The collections `users`, `tokens` and `outbox` together.
#[derive(Debug, Clone)]
pub struct Accounts {
    store: Store,
    users: Users,
    tokens: Tokens,
    outbox: Outbox,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Email,
    /// bcrypt's own text form.
    pub password_hash: String,
}

/// A mail with the hash of the token that its link will hold.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Whose token it is.
    pub user: UserId,
    /// What to send.
    pub mail: Mail,
    /// SHA-256 of the token, for mails with a link.
    pub digest: Option<[u8; 32]>,
    /// Until when the token is good, and sending the mail makes sense.
    pub expires_at: Timestamp,
}

impl Accounts {
    /// The accounts of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            users: Users::new(store),
            tokens: Tokens::new(store),
            outbox: Outbox::new(store),
        }
    }

    /// Makes an unverified account, its token and its mail, all or none.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`, as the unique keys say; or the store is away.
    pub async fn sign_up(
        &self,
        account: &NewAccount,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<User> {
        let row = row(account, false, now);
        let (this, letter, inserted) = (self.clone(), letter.clone(), row.clone());
        let body = async move |session: &mut ClientSession| {
            let insert = this.users.rows.insert_one(&inserted).session(&mut *session).await;
            insert.map_err(conflict)?;
            this.post(&letter, now, session).await
        };
        self.store.transact(body).await?;
        Ok(row.into())
    }

    /// Makes a verified account; `false` if it is there already.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`, as the unique keys say; or the store is away.
    pub async fn admit(&self, account: &NewAccount, now: Timestamp) -> Result<bool> {
        match within_raw(self.users.rows.insert_one(row(account, true, now))).await? {
            Ok(_) => Ok(true),
            Err(error) if duplicate(&error).as_deref() == Some("_id_") => Ok(false),
            Err(error) => match conflict(error) {
                Abort::Rule(taken) => Err(taken),
                Abort::Driver(error) => Err(failed(error)),
                Abort::Again => Err(Error::unavailable()),
            },
        }
    }

    /// Queues a letter, its token good from now on.
    async fn post(
        &self,
        letter: &Letter,
        now: Timestamp,
        session: &mut ClientSession,
    ) -> Result<(), Abort> {
        if let Some(digest) = letter.digest {
            let token = tokens::Row {
                digest: Binary { subtype: BinarySubtype::Generic, bytes: digest.to_vec() },
                user_id: letter.user,
                email_key: letter.mail.to.key(),
                expires_at: letter.expires_at,
            };
            self.tokens.rows.insert_one(token).session(&mut *session).await?;
        }
        let mail = outbox::Row::new(&letter.mail, now, letter.expires_at);
        self.outbox.rows.insert_one(mail).session(&mut *session).await?;
        Ok(())
    }

    /// Uses a token: the account it belongs to has the address it was mailed to from now on, and
    /// is verified. `None` if the token is not good, or the account no longer wants that address.
    ///
    /// # Errors
    /// `email_taken` when another account was verified with the address first; or the store is
    /// away.
    pub async fn verify(&self, digest: [u8; 32], now: Timestamp) -> Result<Option<User>> {
        let this = self.clone();
        let body = async move |session: &mut ClientSession| {
            let token = tokens::good(digest, now);
            let used = this.tokens.rows.find_one_and_delete(token).session(&mut *session).await?;
            let Some(token) = used else { return Ok(None) };
            let unverified = present(
                doc! { "_id": token.user_id, "email_key": token.email_key, "verified": false },
                now,
            );
            let verified = doc! { "$set": { "verified": true } };
            let user = this.users.rows.find_one_and_update(unverified, verified);
            let user = user.return_document(ReturnDocument::After).session(&mut *session).await?;
            Ok(user.map(User::from))
        };
        self.store.transact(body).await
    }
}

fn row(account: &NewAccount, verified: bool, now: Timestamp) -> users::Row {
    users::Row {
        id: account.id,
        username: account.username.as_str().to_owned(),
        username_key: account.username.key(),
        email: account.email.as_str().to_owned(),
        email_key: account.email.key(),
        pending_email: None,
        verified,
        password_hash: account.password_hash.clone(),
        picture: None,
        group_count: 0,
        created_at: now,
        deleted_at: None,
    }
}

/// The unique key that stood against a write of an account.
fn conflict(error: mongodb::error::Error) -> Abort {
    match duplicate(&error).as_deref() {
        Some("email_key") => email_taken().into(),
        Some("username_key") => username_taken().into(),
        Some(_) => Abort::Rule(Error::internal(error)),
        None => error.into(),
    }
}
