//! The outbox: sends queued mails in the background, again and again until a server takes them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::mail_rules::MailRules;
use super::tokens::MailTokens;
use crate::domain::clock::Clock;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;
use crate::error::Result;
use crate::mail::{MailError, Mailer};
use crate::repositories;
use crate::repositories::accounts::Accounts;
use crate::repositories::outbox::{Claim, LONGEST_WAIT};
use crate::repositories::password::LinkKind;
use crate::repositories::tokens::Tokens;
use crate::repositories::users::Users;

/// How often the store is asked for mails that are due: those queued by other instances, and
/// those to be tried again.
const POLL: Duration = Duration::from_secs(2);

/// How many mails are sent at once.
const LANES: usize = 4;

/// How long handing over one mail may take; less than a claim lasts.
const PATIENCE: Duration = Duration::from_secs(30);

/// The wait after the first failure, doubled by each further one up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// After how many attempts a refusal that the server calls final is believed.
const FINAL: u32 = 5;

/// Sends what is queued.
#[derive(Debug)]
pub struct Outbox {
    pub(super) rows: repositories::outbox::Outbox,
    pub(super) accounts: Accounts,
    pub(super) users: Users,
    pub(super) links: Tokens,
    pub(super) mailer: Mailer,
    pub(super) tokens: MailTokens,
    pub(super) rules: MailRules,
    /// What links begin with; no slash at its end.
    pub(super) public_url: String,
    pub(super) clock: Clock,
    pub(super) queued: Notify,
}

impl Outbox {
    /// Says that a mail was queued, which need not wait for the next look.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    /// Sends mails until told to stop; those under way are finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        join_all((0..LANES).map(|lane| self.lane(lane, &stop))).await;
    }

    /// One mail after the other. Only the first lane looks by itself; each that finds a mail
    /// wakes the next, as there may be more.
    async fn lane(&self, number: usize, stop: &CancellationToken) {
        loop {
            let found = self.send_next().await.unwrap_or_else(|error| {
                tracing::warn!(event = "outbox_unavailable", %error);
                false
            });
            if stop.is_cancelled() {
                return;
            }
            if found {
                continue;
            }
            tokio::select! {
                () = self.queued.notified() => {}
                () = sleep(POLL), if number == 0 => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn send_next(&self) -> Result<bool> {
        let Some(claim) = self.rows.claim(self.clock.now()).await? else { return Ok(false) };
        self.wake();
        let (kind, attempts) = (claim.mail.kind.name(), claim.attempts);
        if claim.expires_at <= self.clock.now() {
            tracing::warn!(event = "mail_dropped", kind, attempts, "too old");
            return self.rows.remove(&claim).await.map(|()| true);
        }
        let Some(mail) = self.prepare(&claim).await? else {
            return self.rows.remove(&claim).await.map(|()| true);
        };
        match self.send(&mail, &claim).await {
            Ok(()) => {
                tracing::info!(event = "mail_sent", kind, attempts);
                self.rows.remove(&claim).await?;
            }
            Err(error) if error.is_final && attempts >= FINAL => {
                tracing::error!(event = "mail_dropped", kind, attempts, %error);
                self.rows.remove(&claim).await?;
            }
            Err(error) => {
                let wait = wait_after(attempts);
                tracing::warn!(event = "mail_delayed", kind, attempts, ?wait, %error);
                self.rows.retry_at(&claim, self.clock.now().plus(wait)).await?;
            }
        }
        Ok(true)
    }

    /// The mail as it is to go; `None` if it is not to go after all: nobody waits for it, or its
    /// link was used or withdrawn.
    async fn prepare(&self, claim: &Claim) -> Result<Option<Mail>> {
        let (mail, now) = (claim.mail.clone(), self.clock.now());
        let Some(nonce) = mail.nonce else { return Ok(Some(mail)) };
        let digest = MailTokens::digest(&self.tokens.token(mail.kind, nonce));
        let kind = match mail.kind {
            MailKind::Resend => LinkKind::Verify,
            MailKind::ResetPassword => LinkKind::Reset,
            MailKind::Verify
            | MailKind::ConfirmEmail
            | MailKind::EmailChanged
            | MailKind::EmailChangeRequested
            | MailKind::PasswordChanged
            | MailKind::NewDevice => {
                return Ok(self.links.is_good(digest, now).await?.then_some(mail));
            }
        };
        let known = self.users.recoverable_by(&mail.to, now).await?;
        let waits = known.filter(|(user, _)| kind == LinkKind::Reset || !user.verified);
        let Some((user, address)) = waits else { return Ok(None) };
        // As its owner spelt it, not as whoever asked.
        let to = Email::parse(&address).unwrap_or(mail.to);
        let is_good = if claim.user.is_some() {
            // Looked up before, and not sent then.
            self.links.is_good(digest, now).await?
        } else {
            let rule = self.rules.mailbox(&to);
            self.accounts.keep_link(claim, kind, digest, user.id, rule, now).await?
        };
        if !is_good {
            return Ok(None);
        }
        Ok(Some(Mail { kind: mail.kind, to, username: user.username, nonce: mail.nonce }))
    }

    async fn send(&self, mail: &Mail, claim: &Claim) -> Result<(), MailError> {
        let link = mail.nonce.map(|nonce| {
            let token = self.tokens.token(mail.kind, nonce);
            format!("{}{}?token={token}", self.public_url, mail.kind.page())
        });
        let (reference, at) = (claim.reference(), claim.created_at);
        let sending = self.mailer.send(mail, link.as_deref(), &reference, at);
        timeout(PATIENCE, sending).await.unwrap_or_else(|_| Err(MailError::slow()))
    }
}

fn wait_after(attempts: u32) -> Duration {
    let factor = 1 << attempts.saturating_sub(1).min(10);
    (FIRST_WAIT * factor).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_ten_minutes() {
        let waits: Vec<u64> =
            [1, 2, 3, 10, 11, 4_000_000_000].map(|n| wait_after(n).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 512, 600, 600]);
    }
}
