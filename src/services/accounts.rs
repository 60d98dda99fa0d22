//! Accounts: signing up, showing that an address is one's own, signing in.

pub(super) mod names;
mod verification;

use std::sync::Arc;

use super::account_mails::{LINK_LIFETIME, Verification};
use super::login_throttle::LoginThrottle;
use super::mail_rules::MailRules;
use super::networks::Networks;
use super::password_hasher::{Lane, PasswordHasher};
use super::sessions::Sessions;
use super::tokens::MailTokens;
use crate::domain::accounts::{Credentials, NewAccount};
use crate::domain::clock::{Clock, Timestamp, random_bytes};
use crate::domain::ids::UserId;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::sessions::{Device, SignedIn};
use crate::domain::text::{Email, Password, Username};
use crate::domain::users::{User, email_taken, username_taken};
use crate::error::{Error, Kind, Result};
use crate::store::rows::users::{Taken, taken};
use crate::store::{Store, Tx, give_up};

/// Who signs up.
#[derive(Debug)]
pub struct SignUp {
    /// The name that others will see.
    pub username: Username,
    /// Where the link goes.
    pub email: Email,
    /// The password to be.
    pub password: Password,
}

/// The rules of accounts.
#[derive(Debug)]
pub struct Accounts {
    pub(super) passwords: PasswordHasher,
    pub(super) throttle: LoginThrottle,
    pub(super) networks: Networks,
    pub(super) sessions: Arc<Sessions>,
    pub(super) rules: MailRules,
    pub(super) store: Store,
    pub(super) clock: Clock,
}

impl Accounts {
    /// Makes an account that waits for its address to be verified, and mails the link.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`; `rate_limited` where the mailbox got too many mails; or the
    /// store is away, or too many wait.
    pub async fn sign_up(&self, input: SignUp) -> Result<User> {
        let SignUp { username, email, password } = input;
        self.check_free(&email, &username).await?;
        let turn = self.passwords.acquire(Lane::Stranger).await?;
        // While this one waited, its twin may have been faster: no hash for nothing.
        self.check_free(&email, &username).await?;
        let password_hash = turn.hash(password).await?;
        let account = NewAccount { id: UserId::random(), username, email, password_hash };
        let (to, owner) = (&account.email, (account.id, account.username.as_str()));
        let mail = self.rules.verification(MailKind::Verify, owner, to, self.clock.now());
        self.insert(account, mail).await
    }

    /// Makes an account under a given id whose address needs no proof, unless it is there already:
    /// for people who are made up. Says whether it was made now.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`; or the store is away, or too many wait.
    pub async fn admit(&self, id: UserId, input: SignUp) -> Result<bool> {
        let SignUp { username, email, password } = input;
        let now = self.clock.now();
        self.check_free(&email, &username).await?;
        self.free(&email, &username, now).await?;
        let password_hash = self.passwords.acquire(Lane::Stranger).await?.hash(password).await?;
        let account = NewAccount { id, username, email, password_hash };
        let body = async move |tx: &mut Tx| {
            names::claim(tx, &account.username, id, now).await?;
            match tx.users().insert(&account, true, now).await {
                Ok(_) => Ok(true),
                // A failed insert ends the transaction; nothing else is written in it.
                Err(error) if taken(&error) == Some(Taken::Id) => Err(give_up()),
                Err(error) => Err(conflict(error)),
            }
        };
        Ok(self.store.transact_or_give_up(body).await?.unwrap_or(false))
    }

    /// The address first, so that of two reasons the same one is always told.
    async fn check_free(&self, email: &Email, username: &Username) -> Result<()> {
        let (now, store) = (self.clock.now(), &self.store);
        if store.users().has_email(email, now).await? {
            return Err(email_taken());
        }
        if store.users().has_username(username, now).await?
            || store.held_names().find(&username.key()).await?.is_some_and(|it| it.until > now)
        {
            return Err(username_taken());
        }
        Ok(())
    }

    /// Takes an address and a name from accounts that were never verified, or deleted long ago.
    async fn free(&self, email: &Email, username: &Username, now: Timestamp) -> Result<()> {
        self.store.users().forget_unverified_email(email, now).await?;
        self.store.users().free_address(&email.key(), now).await?;
        names::free(&self.store, username, now).await
    }

    async fn insert(&self, account: NewAccount, mail: Verification) -> Result<User> {
        match self.insert_once(&account, &mail).await {
            Err(error) if error.kind() == Kind::Conflict => {}
            outcome => return outcome,
        }
        self.check_free(&account.email, &account.username).await?;
        // Nobody has them: what stood in the way was never verified.
        self.free(&account.email, &account.username, self.clock.now()).await?;
        self.insert_once(&account, &mail).await
    }

    /// Makes an unverified account, its link and its mail, all or none.
    async fn insert_once(&self, account: &NewAccount, mail: &Verification) -> Result<User> {
        let (account, mail, now) = (account.clone(), mail.clone(), self.clock.now());
        self.store
            .transact(async move |tx: &mut Tx| {
                names::claim(tx, &account.username, account.id, now).await?;
                let user = tx.users().insert(&account, false, now).await.map_err(conflict)?;
                mail.enqueue(tx, now).await?;
                Ok(user)
            })
            .await
    }

    /// Mails the link once more, if an account waits for it. That is found out later, when the
    /// mail is about to go, so that nothing here tells whether there is one.
    pub async fn resend(&self, email: Email) -> Result<()> {
        let (now, nonce) = (self.clock.now(), Some(random_bytes()));
        let mail = Mail { kind: MailKind::Resend, to: email, username: String::new(), nonce };
        let how = Enqueue::now(now).expires_at(now.plus(LINK_LIFETIME));
        let body = async move |tx: &mut Tx| tx.jobs().enqueue(&mail, how.clone()).await;
        self.store.transact(body).await.map(drop)
    }

    /// Shows by a mailed token that its address is the owner's.
    ///
    /// # Errors
    /// `invalid_or_expired_token`, `email_taken`; or the store is away.
    pub async fn verify(&self, token: &str) -> Result<User> {
        let (now, digest) = (self.clock.now(), MailTokens::digest(token));
        let body = async move |tx: &mut Tx| verification::use_link(tx, digest, now).await;
        self.store.transact(body).await?.ok_or_else(bad_link)
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// `invalid_credentials`, whether the address or the password is wrong, after the same work;
    /// `account_locked`; `account_not_verified`; or the store is away, or too many wait.
    pub async fn login(
        &self,
        email: &Email,
        password: String,
        device: &Device,
    ) -> Result<SignedIn> {
        let (store, clock, address) = (self.store.clone(), self.clock.clone(), email.clone());
        let look_up = async move { credentials(&store, &address, clock.now()).await };
        let lane = self.networks.lane(email, device).await?;
        let known = self.throttle.check(email, password, lane, look_up).await?;
        let known = known.ok_or_else(invalid_credentials)?;
        if !known.user.verified {
            let detail = "e-mail address is not verified; open the mailed link first";
            return Err(Error::forbidden("account_not_verified", detail));
        }
        self.sessions.start(known, device).await?.ok_or_else(invalid_credentials)
    }
}

fn invalid_credentials() -> Error {
    let detail = "wrong e-mail address or password";
    Error::unauthenticated("invalid_credentials", detail)
}

/// The token of a link that leads nowhere (any more).
pub(super) fn bad_link() -> Error {
    let detail = "link is invalid, expired or already used";
    Error::invalid("invalid_or_expired_token", detail)
}

/// The credentials of the account that signs in with this address.
async fn credentials(store: &Store, email: &Email, now: Timestamp) -> Result<Option<Credentials>> {
    let known = store.users().credentials_by_email(&[email.key()], now).await?;
    let former = email.former_keys();
    if known.is_some() || former.is_empty() {
        return Ok(known);
    }
    store.users().credentials_by_email(&former, now).await
}

/// The conflict with a unique key that stood against a write of an account.
pub(in crate::services) fn conflict(error: Error) -> Error {
    match taken(&error) {
        Some(Taken::Email) => email_taken(),
        Some(Taken::Username) => username_taken(),
        Some(Taken::Id) | None => error,
    }
}
