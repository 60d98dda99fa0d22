//! Undoing a change of address, by the link that was mailed to the old one.

use std::sync::Arc;

use super::accounts::{bad_link, conflict};
use super::mail_rules::MailRules;
use super::session_cache::SessionCache;
use super::tokens::MailTokens;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::UserId;
use crate::domain::mails::{LinkKind, MailKind};
use crate::domain::rate_rules::WindowKey;
use crate::error::Result;
use crate::store::{Store, Tx};

/// The rules of undoing a change of address.
#[derive(Debug)]
pub struct EmailUndo {
    pub(super) store: Store,
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
        let link = self.store.tokens().find(LinkKind::Undo, digest, now).await?;
        let user = link.ok_or_else(bad_link)?.user;
        let asked = self.rules.notice_key(MailKind::EmailChangeRequested, user);
        let body = async move |tx: &mut Tx| use_link(tx, digest, asked, now).await;
        let undone = self.store.transact(body).await;
        // Also where the store did not say: they may have ended.
        self.live.forget_user(user);
        undone?.map(drop).ok_or_else(bad_link)
    }
}

/// Uses the token of a link that undoes a change of address: whose it is. The account has the
/// address back that the link was mailed to. Its sessions end, no password opens it until a new one
/// is set by that address, and all links are worthless but those that were mailed to addresses given
/// up earlier. `asked` is counted anew, so that the next change is told again. `None` if the token is
/// not good, or the address was given up too long ago.
async fn use_link(
    tx: &mut Tx,
    digest: [u8; 32],
    asked: WindowKey,
    now: Timestamp,
) -> Result<Option<UserId>> {
    let Some(link) = tx.tokens().find(LinkKind::Undo, digest, now).await? else { return Ok(None) };
    let account = tx.users().find(link.user, now).await?;
    let restored = account.and_then(|account| account.emails.restored(&link.email_key, now));
    let Some(restored) = restored else { return Ok(None) };
    tx.users().restore_emails(link.user, &restored).await.map_err(conflict)?;
    let earlier: Vec<&str> = restored.former.iter().map(|former| former.key.as_str()).collect();
    tx.tokens().withdraw_but_undo(link.user, &earlier).await?;
    tx.sessions().end_of(link.user, None).await?;
    tx.rate_windows().forget(asked).await?;
    Ok(Some(link.user))
}
