//! Mails: each is tried again and again until a mail server takes it or it makes no sense any more.

use std::time::Duration;

use tokio::time::timeout;

use super::JobDeps;
use crate::domain::clock::Clock;
use crate::domain::jobs::{Attempt, Job, JobError, Outcome, Progress, Retry};
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;
use crate::error::Result;
use crate::mail::{MailError, Mailer};
use crate::repositories::accounts::{Accounts, Letter};
use crate::repositories::password::LinkKind;
use crate::repositories::tokens::Tokens;
use crate::repositories::users::Users;
use crate::services::mail_rules::MailRules;
use crate::services::tokens::MailTokens;

/// How long handing over one mail may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(30);

/// After how many attempts a refusal that the server calls final is believed.
const FINAL: u32 = 5;

/// The dependencies of mails.
#[derive(Debug)]
pub(in crate::services) struct MailDelivery {
    pub accounts: Accounts,
    pub users: Users,
    pub links: Tokens,
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
                return Ok(self.links.is_good(digest, now).await?.then_some(mail));
            }
        };
        let known = self.users.recoverable_by(&mail.to, now).await?;
        let waits = known.filter(|(user, _)| kind == LinkKind::Reset || !user.verified);
        let Some((user, address)) = waits else { return Ok(None) };
        // As its owner spelt it, not as whoever asked.
        let to = Email::parse(&address).unwrap_or_else(|_| mail.to.clone());
        let is_good = if attempt.owner.is_some() {
            // Looked up before, and not sent then.
            self.links.is_good(digest, now).await?
        } else {
            let (rule, expires_at) = (self.rules.mailbox(&to), attempt.expires_at.unwrap_or(now));
            let letter = Letter { user: user.id, mail: mail.clone(), digest, expires_at, rule };
            self.accounts.keep_link(&letter, attempt.id, kind, now).await?
        };
        if !is_good {
            return Ok(None);
        }
        Ok(Some(Mail { kind: mail.kind, to, username: user.username, nonce: mail.nonce }))
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
