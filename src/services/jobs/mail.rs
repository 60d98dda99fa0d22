//! Mails: each is tried again and again until a mail server takes it or it makes no sense any more.

use std::time::Duration;

use tokio::time::timeout;

use super::JobDeps;
use crate::domain::accounts::Account;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::JobId;
use crate::domain::jobs::{Attempt, Job, JobError, Outcome, Progress, Retry};
use crate::domain::mails::{LinkKind, Mail, MailKind, MailedLink};
use crate::domain::rate_rules::RateRule;
use crate::domain::text::Email;
use crate::error::Result;
use crate::mail::{MailError, Mailer};
use crate::services::account_mails::count;
use crate::services::mail_rules::MailRules;
use crate::services::tokens::MailTokens;
use crate::store::{Store, Tx};

/// How long handing over one mail may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(30);

/// After how many attempts a refusal that the server calls final is believed.
const FINAL: u32 = 5;

/// The dependencies of mails.
#[derive(Debug)]
pub(in crate::services) struct MailDelivery {
    pub store: Store,
    pub mailer: Mailer,
    pub tokens: MailTokens,
    pub rules: MailRules,
    /// The beginning of links; no slash at its end.
    pub public_url: String,
    pub clock: Clock,
}

impl Job for Mail {
    type Deps = JobDeps;
    const KIND: &'static str = "mail";
    /// Until the mail expires.
    const RETRY: Retry = Retry::FOREVER;
    const CONCURRENCY: usize = 4;
    const TIME_LIMIT: Duration = Duration::from_secs(50);

    async fn run(&self, deps: &JobDeps, attempt: &Attempt) -> Outcome {
        let Some(mail) = deps.mails.prepare(self, attempt).await? else {
            return Ok(Progress::Done);
        };
        let (kind, attempts) = (mail.kind.name(), attempt.number);
        match deps.mails.send(&mail, attempt).await {
            Ok(()) => {
                tracing::info!(event = "mail_sent", kind, attempts, "a mail server has the mail");
                Ok(Progress::Done)
            }
            Err(error) if error.is_final && attempts >= FINAL => {
                Err(JobError::last(format!("{kind}: {error}")))
            }
            Err(error) => Err(JobError::passing(format!("{kind}: {error}"))),
        }
    }
}

impl MailDelivery {
    /// The mail as it is to go; `None` if it is not to go after all: nobody waits for it, or its
    /// link was used or withdrawn.
    async fn prepare(&self, mail: &Mail, attempt: &Attempt) -> Result<Option<Mail>> {
        let (mail, now) = (mail.clone(), self.clock.now());
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
                return Ok(self.store.tokens().has(digest, now).await?.then_some(mail));
            }
        };
        let Some(Account { user, emails, .. }) =
            self.store.users().find_by_email(&mail.to, now).await?
        else {
            return Ok(None);
        };
        let (address, key) = emails.recovery(now);
        let waits = kind == LinkKind::Reset || !user.verified;
        if !(waits && mail.to.all_keys().iter().any(|own| own == key)) {
            return Ok(None);
        }
        // As its owner spelt it, not as whoever asked.
        let to = Email::parse(address).unwrap_or_else(|_| mail.to.clone());
        let is_good = if attempt.owner.is_some() {
            // Looked up before, and not sent then.
            self.store.tokens().has(digest, now).await?
        } else {
            let expires_at = attempt.expires_at.unwrap_or(now);
            let email_key = mail.to.key();
            let link = MailedLink { digest, kind, user: user.id, email_key, expires_at };
            self.keep_link(link, self.rules.mailbox(&to), attempt.id, now).await?
        };
        if !is_good {
            return Ok(None);
        }
        Ok(Some(Mail { kind: mail.kind, to, username: user.username, nonce: mail.nonce }))
    }

    /// Makes the link of a mail that was asked for good, and the mail's job the account's; `false`
    /// if the address is not its own by now, or it has as many links as it may have, or the mailbox
    /// got as many mails.
    async fn keep_link(
        &self,
        link: MailedLink,
        rule: RateRule,
        job: JobId,
        now: Timestamp,
    ) -> Result<bool> {
        let (user, kind) = (link.user, link.kind);
        self.store
            .transact(async move |tx: &mut Tx| {
                let account = tx.users().count_link(user, now).await?;
                if !account.is_some_and(|account| may_have(&account, &link, now)) {
                    return Ok(false);
                }
                if tx.tokens().count(user, kind, now).await? >= max_links(kind) {
                    return Ok(false);
                }
                if count(tx, &rule, now).await?.is_err() {
                    return Ok(false);
                }
                tx.tokens().insert(&link).await?;
                tx.jobs().give_to(job, user).await?;
                Ok(true)
            })
            .await
    }

    async fn send(&self, mail: &Mail, attempt: &Attempt) -> Result<(), MailError> {
        let link = mail.nonce.map(|nonce| {
            let token = self.tokens.token(mail.kind, nonce);
            format!("{}{}?token={token}", self.public_url, mail.kind.page())
        });
        let (reference, at) = (attempt.reference(), attempt.enqueued_at);
        let sending = self.mailer.send(mail, link.as_deref(), &reference, at);
        timeout(HAND_OVER_LIMIT, sending).await.unwrap_or_else(|_| Err(MailError::slow()))
    }
}

/// Whether the address that a link goes to may have it.
fn may_have(account: &Account, link: &MailedLink, now: Timestamp) -> bool {
    match link.kind {
        LinkKind::Verify => account.emails.key == link.email_key,
        LinkKind::Reset => account.emails.recovery(now).1 == link.email_key,
        LinkKind::Undo => false,
    }
}

/// How many links of a kind can be good at once for one account: more are not mailed, so that
/// nobody's mailbox is filled.
fn max_links(kind: LinkKind) -> u64 {
    match kind {
        LinkKind::Verify => 10,
        LinkKind::Reset => 5,
        LinkKind::Undo => 0,
    }
}
