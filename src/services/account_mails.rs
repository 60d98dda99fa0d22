//! Mails to the owners of accounts: each is enqueued in the transaction of the change that it is
//! about, together with the link in it, so that no account waits for a mail that was never enqueued.

use std::time::Duration;

use crate::domain::accounts::Account;
use crate::domain::clock::Timestamp;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{LinkKind, Mail, MailKind, MailedLink};
use crate::domain::rate_rules::RateRule;
use crate::domain::text::Email;
use crate::error::{Error, Result};
use crate::store::Tx;

/// How long a link to verify an address is good.
pub(super) const LINK_LIFETIME: Duration = Duration::from_hours(24);

/// A mail whose link verifies an address.
#[derive(Debug, Clone)]
pub(super) struct Verification {
    /// The mail.
    pub mail: Mail,
    /// The link in it.
    pub link: MailedLink,
    /// How many mails the mailbox may get.
    pub rule: RateRule,
}

impl Verification {
    /// Enqueues the mail; its link is good from the commit on.
    ///
    /// # Errors
    /// `rate_limited` past the mails that the mailbox may get.
    pub async fn enqueue(&self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        count_or_refuse(tx, &self.rule, now).await?;
        tx.tokens().insert(&self.link).await?;
        let how = Enqueue::now(now).of_user(self.link.user).expires_at(self.link.expires_at);
        tx.jobs().enqueue(&self.mail, how).await.map(drop)
    }
}

/// A mail that tells the owner of an account of a change.
#[derive(Debug, Clone)]
pub(super) struct SecurityNotice {
    /// The kind of mail.
    pub kind: MailKind,
    /// Past it there is no mail, and the change goes on.
    pub rule: RateRule,
    /// Until when sending it makes sense.
    pub expires_at: Timestamp,
    /// The link that takes the change back, where the mail has one.
    pub undo: Option<UndoLink>,
}

/// The link that undoes a change of address.
#[derive(Debug, Clone)]
pub(super) struct UndoLink {
    /// The nonce that its token is made from.
    pub nonce: [u8; 16],
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl SecurityNotice {
    /// Enqueues the notice to the address of an account, unless one of its kind was sent lately.
    pub async fn enqueue(&self, tx: &mut Tx, account: &Account, now: Timestamp) -> Result<()> {
        let Account { user, emails, .. } = account;
        let Ok(to) = Email::parse(&user.email) else { return Ok(()) };
        if count(tx, &self.rule, now).await?.is_err() {
            return Ok(());
        }
        if let Some(undo) = &self.undo {
            let link = MailedLink {
                digest: undo.digest,
                kind: LinkKind::Undo,
                user: user.id,
                email_key: emails.key.clone(),
                expires_at: undo.expires_at,
            };
            tx.tokens().insert(&link).await?;
        }
        let nonce = self.undo.as_ref().map(|undo| undo.nonce);
        let mail = Mail { kind: self.kind, to, username: user.username.clone(), nonce };
        let how = Enqueue::now(now).of_user(user.id).expires_at(self.expires_at);
        tx.jobs().enqueue(&mail, how).await.map(drop)
    }
}

/// Counts one more, if the transaction commits; or says how long the subject has to wait.
pub(super) async fn count(
    tx: &mut Tx,
    rule: &RateRule,
    now: Timestamp,
) -> Result<Result<(), Duration>> {
    let mut times = tx.rate_windows().times(rule.key).await?;
    if let Err(wait) = rule.count(&mut times, now) {
        return Ok(Err(wait));
    }
    tx.rate_windows().set(rule.key, &times, now.plus(rule.window)).await.map(Ok)
}

/// As [`count`]; past the limit the transaction ends with 429 `rate_limited`.
pub(super) async fn count_or_refuse(tx: &mut Tx, rule: &RateRule, now: Timestamp) -> Result<()> {
    count(tx, rule, now).await?.map_err(|wait| Error::limited("rate_limited", wait))
}
