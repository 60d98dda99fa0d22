//! Accounts: signing up, showing that an address is one's own, signing in.

use std::sync::Arc;
use std::time::Duration;

use super::outbox::Outbox;
use super::passwords::Passwords;
use super::sessions::Sessions;
use super::tokens::MailTokens;
use crate::domain::clock::{Clock, random_bytes};
use crate::domain::ids::UserId;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::sessions::{Device, SignedIn};
use crate::domain::text::{Email, Password, Username};
use crate::domain::users::User;
use crate::error::{Error, Kind, Result};
use crate::repositories;
use crate::repositories::accounts::{Letter, NewAccount};
use crate::repositories::users::Users;

/// How long a link to verify an address is good.
const LINK_LIFETIME: Duration = Duration::from_hours(24);

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
    pub(super) rows: repositories::accounts::Accounts,
    pub(super) users: Users,
    pub(super) passwords: Passwords,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tokens: MailTokens,
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: Clock,
}

impl Accounts {
    /// Makes an account that waits for its address to be verified, and mails the link.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`; or the store is away, or too many wait.
    pub async fn sign_up(&self, input: SignUp) -> Result<User> {
        let SignUp { username, email, password } = input;
        self.users.check_free(&email, &username, self.clock.now()).await?;
        let turn = self.passwords.turn().await?;
        // While this one waited, its twin may have been faster: no hash for nothing.
        self.users.check_free(&email, &username, self.clock.now()).await?;
        let password_hash = turn.hash(password).await?;
        let account = NewAccount { id: UserId::random(), username, email, password_hash };
        let letter =
            self.letter(account.id, MailKind::Verify, &account.email, account.username.as_str());
        let user = self.insert(&account, &letter).await?;
        self.outbox.wake();
        Ok(user)
    }

    /// Makes an account under a given id whose address needs no proof, unless it is there already:
    /// for people who are made up. Says whether it was made now.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`; or the store is away, or too many wait.
    pub async fn admit(&self, id: UserId, input: SignUp) -> Result<bool> {
        let SignUp { username, email, password } = input;
        let now = self.clock.now();
        self.users.check_free(&email, &username, now).await?;
        self.users.forget_unverified(&email, &username, now).await?;
        let password_hash = self.passwords.turn().await?.hash(password).await?;
        self.rows.admit(&NewAccount { id, username, email, password_hash }, now).await
    }

    async fn insert(&self, account: &NewAccount, letter: &Letter) -> Result<User> {
        let now = self.clock.now();
        let (email, username) = (&account.email, &account.username);
        let clash = match self.rows.sign_up(account, letter, now).await {
            Err(error) if error.kind() == Kind::Conflict => error,
            outcome => return outcome,
        };
        self.users.check_free(email, username, now).await?;
        // Nobody has them: what stood in the way was never verified.
        self.users.forget_unverified(email, username, now).await?;
        self.rows.sign_up(account, letter, now).await.map_err(|error| error.with_source(clash))
    }

    /// Shows by a mailed token that its address is the owner's.
    ///
    /// # Errors
    /// `invalid_or_expired_token`, `email_taken`; or the store is away.
    pub async fn verify(&self, token: &str) -> Result<User> {
        let verified = self.rows.verify(MailTokens::digest(token), self.clock.now()).await?;
        verified.ok_or_else(|| {
            let detail = "this link was used before, or is too old, or never was one";
            Error::invalid("invalid_or_expired_token", detail)
        })
    }

    /// Signs in with address and password.
    ///
    /// # Errors
    /// `invalid_credentials`, whether the address or the password is wrong, after the same work;
    /// `account_not_verified`; or the store is away, or too many wait.
    pub async fn login(
        &self,
        email: &Email,
        password: String,
        device: &Device,
    ) -> Result<SignedIn> {
        let turn = self.passwords.turn().await?;
        let known = self.users.by_email(email, self.clock.now()).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let matches = turn.verify(password, hash).await?;
        let Some(known) = known.filter(|_| matches) else {
            let detail = "the e-mail address or the password is wrong";
            return Err(Error::unauthenticated("invalid_credentials", detail));
        };
        if !known.user.verified {
            let detail = "use the link that was mailed to you first";
            return Err(Error::forbidden("account_not_verified", detail));
        }
        self.sessions.start(known.user, device).await
    }

    /// A mail with a fresh link.
    pub(super) fn letter(&self, user: UserId, kind: MailKind, to: &Email, name: &str) -> Letter {
        let nonce = random_bytes();
        let token = self.tokens.token(kind, nonce);
        Letter {
            user,
            mail: Mail { kind, to: to.clone(), username: name.to_owned(), nonce: Some(nonce) },
            digest: Some(MailTokens::digest(&token)),
            expires_at: self.clock.now().plus(LINK_LIFETIME),
        }
    }
}
