//! Undoing a change of address, by the link that was mailed to the old one.

use std::sync::Arc;

use super::accounts::bad_link;
use super::mail_rules::MailRules;
use super::session_cache::SessionCache;
use super::tokens::MailTokens;
use crate::domain::clock::Clock;
use crate::domain::mails::MailKind;
use crate::error::Result;
use crate::repositories::accounts::Accounts;
use crate::repositories::tokens::Tokens;

/// The rules of undoing a change of address.
#[derive(Debug)]
pub struct EmailUndo {
    pub(super) accounts: Accounts,
    pub(super) links: Tokens,
    pub(super) rules: MailRules,
    pub(super) live: Arc<SessionCache>,
    pub(super) clock: Clock,
}

impl EmailUndo {
    /// Withdraws a change of address, or undoes one made less than a week ago, by the token of a
    /// mailed link. All sessions end, and no password opens the account until its old address sets
    /// a new one: whoever asked for the change may know the password.
    ///
    /// # Errors
    /// `invalid_or_expired_token`; or the store is away.
    pub async fn undo(&self, token: &str) -> Result<()> {
        let (digest, now) = (MailTokens::digest(token), self.clock.now());
        let user = self.links.undo_for(digest, now).await?.ok_or_else(bad_link)?;
        let asked = self.rules.notice_key(MailKind::EmailChangeRequested, user);
        let undone = self.accounts.undo_email(digest, asked, now).await;
        // Also where the store did not say: they may have ended.
        self.live.forget_user(user);
        undone?.map(drop).ok_or_else(bad_link)
    }
}
