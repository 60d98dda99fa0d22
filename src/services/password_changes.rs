//! Another password: by the one that one has, or by a mailed link.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::bad_link;
use super::login_throttle::LoginThrottle;
use super::mail_rules::MailRules;
use super::password_hasher::{Lane, PasswordHasher};
use super::session_cache::SessionCache;
use super::tokens::MailTokens;
use crate::domain::accounts::Credentials;
use crate::domain::clock::{Clock, random_bytes};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{LinkKind, Mail, MailKind};
use crate::domain::text::{Email, Password};
use crate::domain::users::{User, account_gone};
use crate::error::{Error, Result};
use crate::store::{Store, Tx};

/// How long a link to set a new password is good.
const LINK_LIFETIME: Duration = Duration::from_hours(1);

/// The rules of changing a password.
#[derive(Debug)]
pub struct PasswordChanges {
    pub(super) passwords: PasswordHasher,
    pub(super) throttle: LoginThrottle,
    pub(super) live: Arc<SessionCache>,
    pub(super) rules: MailRules,
    pub(super) store: Store,
    pub(super) clock: Clock,
}

impl PasswordChanges {
    /// Replaces the password of someone who is signed in. Their other sessions end, and a change of
    /// address that waits for its link is withdrawn.
    ///
    /// # Errors
    /// `forbidden` if `current` is wrong, which counts like signing in with it; `account_locked`;
    /// or the store is away, or too many wait.
    pub async fn change(
        &self,
        user: UserId,
        session: SessionId,
        current: String,
        new: Password,
    ) -> Result<()> {
        let known = confirm(&self.throttle, &self.store, &self.clock, user, current).await?;
        let hash = self.passwords.acquire(Lane::Known).await?.hash(new).await?;
        let now = self.clock.now();
        let notice = self.rules.notice(MailKind::PasswordChanged, user, now);
        let body = async move |tx: &mut Tx| {
            let account = tx.users().replace_password(&known, &hash, now).await?;
            let Some(account) = account else { return Ok(false) };
            withdraw_links(tx, user).await?;
            notice.enqueue(tx, &account, now).await?;
            tx.sessions().end_of(user, Some(session)).await?;
            Ok(true)
        };
        let changed = self.store.transact(body).await;
        // Also where the store did not say: they may have ended.
        self.live.forget_others(user, session);
        if !changed? {
            return Err(wrong_password());
        }
        Ok(())
    }

    /// Mails a link to set a new password, if an account has this address. That is found out
    /// later, when the mail is about to go, so that nothing here tells whether there is one.
    pub async fn forgot(&self, email: Email) -> Result<()> {
        let (now, nonce) = (self.clock.now(), Some(random_bytes()));
        let kind = MailKind::ResetPassword;
        let mail = Mail { kind, to: email, username: String::new(), nonce };
        let how = Enqueue::now(now).expires_at(now.plus(LINK_LIFETIME));
        let body = async move |tx: &mut Tx| tx.jobs().enqueue(&mail, how.clone()).await;
        self.store.transact(body).await.map(drop)
    }

    /// Sets a new password by the token of a mailed link. All sessions end, all other links are
    /// worthless, a lockout is over. Using the link shows that the address is one's own, so an
    /// account that was not verified now is: what somebody else may have signed up with is its
    /// owner's.
    ///
    /// # Errors
    /// `invalid_or_expired_token`; or the store is away, or too many wait.
    pub async fn reset(&self, token: &str, new: Password) -> Result<()> {
        let digest = MailTokens::digest(token);
        // Before the work: whoever makes tokens up costs no hash.
        let now = self.clock.now();
        let link = self.store.tokens().find(LinkKind::Reset, digest, now).await?;
        let user = link.ok_or_else(bad_link)?.user;
        let known = self.store.users().find(user, now).await?.ok_or_else(bad_link)?;
        let email = sign_in_address(&known.user)?;
        let hash = self.passwords.acquire(Lane::Stranger).await?.hash(new).await?;
        let (lockout, now) = (self.throttle.counted_under(&email.key()), self.clock.now());
        let notice = self.rules.notice(MailKind::PasswordChanged, user, now);
        let body = async move |tx: &mut Tx| {
            let link = tx.tokens().find(LinkKind::Reset, digest, now).await?;
            let Some(link) = link else { return Ok(None) };
            let owner = tx.users().find(link.user, now).await?;
            let owner = owner.filter(|it| it.emails.recovery(now).1 == link.email_key);
            let Some(owner) = owner else { return Ok(None) };
            tx.users().set_password(link.user, &hash).await?;
            withdraw_links(tx, link.user).await?;
            notice.enqueue(tx, &owner, now).await?;
            tx.sessions().end_of(link.user, None).await?;
            tx.lockouts().forget(lockout).await?;
            Ok(Some(link.user))
        };
        let reset = self.store.transact(body).await?;
        self.live.forget_user(reset.ok_or_else(bad_link)?);
        Ok(())
    }
}

/// Withdraws the links that verify an address or set a password: also one to another address, which
/// whoever got in may have asked for. Those that undo a change of address stay: whoever made the
/// change may have the password, too.
async fn withdraw_links(tx: &mut Tx, user: UserId) -> Result<()> {
    tx.tokens().withdraw(user, &[LinkKind::Verify, LinkKind::Reset]).await
}

/// The address that an account signs in with.
pub(super) fn sign_in_address(user: &User) -> Result<Email> {
    Email::parse(&user.email).map_err(|broken| Error::internal(broken.code))
}

/// Someone who is signed in shows once more who they are.
pub(super) async fn confirm(
    throttle: &LoginThrottle,
    store: &Store,
    clock: &Clock,
    user: UserId,
    password: String,
) -> Result<Credentials> {
    let known = store.users().find(user, clock.now()).await?.ok_or_else(account_gone)?;
    let email = sign_in_address(&known.user)?;
    let (store, clock) = (store.clone(), clock.clone());
    let look_up = async move {
        // Gone in the meantime is no wrong password.
        store.users().credentials(user, clock.now()).await?.ok_or_else(account_gone).map(Some)
    };
    throttle.check(&email, password, Lane::Known, look_up).await?.ok_or_else(wrong_password)
}

fn wrong_password() -> Error {
    Error::forbidden("forbidden", "wrong password")
}
