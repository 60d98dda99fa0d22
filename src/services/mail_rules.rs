//! How many mails there may be, and the mails that tell owners of what happens to their accounts.

use std::time::Duration;

use super::account_mails::{LINK_LIFETIME, SecurityNotice, UndoLink, Verification};
use super::tokens::MailTokens;
use crate::domain::accounts::UNDO_WINDOW;
use crate::domain::clock::{Timestamp, random_bytes};
use crate::domain::ids::UserId;
use crate::domain::mails::{LinkKind, Mail, MailKind, MailedLink};
use crate::domain::rate_rules::{RateRule, WindowKey};
use crate::domain::secrets::MacKey;
use crate::domain::text::Email;

/// Mails a day to one mailbox, security mails aside.
const MAILS_A_DAY: usize = 10;

/// Changes of address that an account may ask for in a day.
const EMAIL_REQUESTS_A_DAY: usize = 5;

const DAY: Duration = Duration::from_hours(24);

/// In how long there is one security mail of a kind.
const NOTICE_WINDOW: Duration = Duration::from_hours(1);

/// How long telling someone of what happened makes sense.
pub(super) const NOTICE_LIFETIME: Duration = Duration::from_hours(72);

/// How long the link that undoes a change is good: the change can be made a day after it was asked
/// for, asking again within the hour mails no other link, and then it can be undone for a week.
const UNDO_LIFETIME: Duration = Duration::from_hours(25).saturating_add(UNDO_WINDOW);

/// Makes the limits on mails, and security mails with theirs.
#[derive(Debug, Clone)]
pub struct MailRules {
    key: MacKey,
    tokens: MailTokens,
}

impl MailRules {
    /// Rules under the service's key for them.
    #[must_use]
    pub fn new(master: &[u8]) -> Self {
        Self { key: MacKey::derive(master, "mail-rules"), tokens: MailTokens::new(master) }
    }

    /// The limit of mails to a mailbox.
    pub(super) fn mailbox(&self, to: &Email) -> RateRule {
        let key = self.key.mac(&[b"mailbox", to.untagged_key().as_bytes()]);
        RateRule { key, most: MAILS_A_DAY, window: DAY }
    }

    /// A mail of this kind with a fresh link that verifies the address that it goes to.
    pub(super) fn verification(
        &self,
        kind: MailKind,
        (user, name): (UserId, &str),
        to: &Email,
        now: Timestamp,
    ) -> Verification {
        let nonce = random_bytes();
        let link = MailedLink {
            digest: MailTokens::digest(&self.tokens.token(kind, nonce)),
            kind: LinkKind::Verify,
            user,
            email_key: to.key(),
            expires_at: now.plus(LINK_LIFETIME),
        };
        let mail = Mail { kind, to: to.clone(), username: name.to_owned(), nonce: Some(nonce) };
        Verification { mail, link, rule: self.mailbox(to) }
    }

    /// How often an account may ask for another address.
    pub(super) fn email_requests(&self, user: UserId) -> RateRule {
        let key = self.key.mac(&[b"email_requests", &user.bytes()]);
        RateRule { key, most: EMAIL_REQUESTS_A_DAY, window: DAY }
    }

    /// The key that notices of one kind are counted under.
    pub(super) fn notice_key(&self, kind: MailKind, user: UserId) -> WindowKey {
        self.key.mac(&[b"notice", kind.name().as_bytes(), &user.bytes()])
    }

    /// A security mail to the owner of an account.
    pub(super) fn notice(&self, kind: MailKind, user: UserId, now: Timestamp) -> SecurityNotice {
        let rule = RateRule { key: self.notice_key(kind, user), most: 1, window: NOTICE_WINDOW };
        SecurityNotice { kind, rule, expires_at: now.plus(NOTICE_LIFETIME), undo: None }
    }

    /// The mail to the present address of an account that asks for another, with the link that
    /// undoes the change.
    pub(super) fn email_requested(&self, user: UserId, now: Timestamp) -> SecurityNotice {
        let (kind, nonce) = (MailKind::EmailChangeRequested, random_bytes());
        let digest = MailTokens::digest(&self.tokens.token(kind, nonce));
        let undo = UndoLink { nonce, digest, expires_at: now.plus(UNDO_LIFETIME) };
        SecurityNotice { undo: Some(undo), ..self.notice(kind, user, now) }
    }
}
