//! Accounts: signing up, showing that an address is one's own, signing in.

use std::sync::Arc;
use std::time::Duration;

use super::login_throttle::LoginThrottle;
use super::mail_rules::{MailRules, NOTICE_LIFETIME};
use super::networks::Networks;
use super::password_hasher::{Lane, PasswordHasher};
use super::sessions::Sessions;
use super::tokens::MailTokens;
use crate::domain::clock::{Clock, random_bytes};
use crate::domain::ids::UserId;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::sessions::{Device, SignedIn};
use crate::domain::text::{Email, Password, Username};
use crate::domain::users::{User, email_taken, username_taken};
use crate::error::{Error, Kind, Result};
use crate::repositories::accounts::{Letter, NewAccount};
use crate::repositories::rate_windows::RateRule;
use crate::repositories::store::{Store, Tx};
use crate::repositories::users::Users;

/// How long a link to verify an address is good.
pub(super) const LINK_LIFETIME: Duration = Duration::from_hours(24);

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
    pub(super) rows: crate::repositories::accounts::Accounts,
    pub(super) users: Users,
    pub(super) passwords: PasswordHasher,
    pub(super) throttle: LoginThrottle,
    pub(super) networks: Networks,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tokens: MailTokens,
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
        let (to, name) = (&account.email, account.username.as_str());
        let rule = self.rules.mailbox(to);
        let letter =
            letter(&self.tokens, rule, &self.clock, account.id, MailKind::Verify, to, name);
        let user = self.insert(&account, &letter).await?;
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
        self.check_free(&email, &username).await?;
        self.users.forget_unverified_email(&email, now).await?;
        self.users.free_address(&email, now).await?;
        self.users.free_name(&username, now).await?;
        let password_hash = self.passwords.acquire(Lane::Stranger).await?.hash(password).await?;
        self.rows.admit(&NewAccount { id, username, email, password_hash }, now).await
    }

    /// The address first, so that of two reasons the same one is always told.
    async fn check_free(&self, email: &Email, username: &Username) -> Result<()> {
        let now = self.clock.now();
        if self.users.has_email(email, now).await? {
            return Err(email_taken());
        }
        if self.users.has_username(username, now).await?
            || self.rows.held_names.is_held(username, now).await?
        {
            return Err(username_taken());
        }
        Ok(())
    }

    async fn insert(&self, account: &NewAccount, letter: &Letter) -> Result<User> {
        let now = self.clock.now();
        match self.rows.sign_up(account, letter, now).await {
            Err(error) if error.kind() == Kind::Conflict => {}
            outcome => return outcome,
        }
        self.check_free(&account.email, &account.username).await?;
        // Nobody has them: what stood in the way was never verified.
        self.users.forget_unverified_email(&account.email, now).await?;
        self.users.free_address(&account.email, now).await?;
        self.users.free_name(&account.username, now).await?;
        self.rows.sign_up(account, letter, now).await
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
        let verified = self.rows.verify(digest, now, now.plus(NOTICE_LIFETIME)).await?;
        let user = verified.ok_or_else(bad_link)?;
        Ok(user)
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
        let (users, clock, address) = (self.users.clone(), self.clock.clone(), email.clone());
        let look_up = async move { users.by_email(&address, clock.now()).await };
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

/// A mail with a fresh link.
pub(super) fn letter(
    tokens: &MailTokens,
    rule: RateRule,
    clock: &Clock,
    user: UserId,
    kind: MailKind,
    to: &Email,
    name: &str,
) -> Letter {
    let nonce = random_bytes();
    Letter {
        user,
        mail: Mail { kind, to: to.clone(), username: name.to_owned(), nonce: Some(nonce) },
        digest: MailTokens::digest(&tokens.token(kind, nonce)),
        expires_at: clock.now().plus(LINK_LIFETIME),
        rule,
    }
}
