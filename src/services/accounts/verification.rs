//! Using the token of a mailed link: the account gets the address that its owner has shown to be
//! theirs.

use super::conflict;
use crate::domain::accounts::Account;
use crate::domain::clock::Timestamp;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::{LinkKind, Mail, MailKind, MailedLink};
use crate::domain::text::Email;
use crate::domain::users::{User, email_taken};
use crate::error::{Error, Result};
use crate::services::mail_rules::NOTICE_LIFETIME;
use crate::store::Tx;

/// Uses a token: the account it belongs to has the address it was mailed to from now on, and is
/// verified; a replaced address is told. `None` if the token is not good, or the account no longer
/// wants that address.
///
/// # Errors
/// `email_taken` when another account was verified with the address first; or the store is away.
pub(super) async fn use_link(
    tx: &mut Tx,
    digest: [u8; 32],
    now: Timestamp,
) -> Result<Option<User>> {
    let Some(link) = tx.tokens().take(LinkKind::Verify, digest, now).await? else {
        return Ok(None);
    };
    let account = match tx.users().find(link.user, now).await? {
        // The account is gone: someone else was faster.
        None if tx.users().has_verified(&link.email_key).await? => return Err(email_taken()),
        None => return Ok(None),
        Some(account) if account.emails.key == link.email_key && !account.user.verified => {
            tx.users().verify(link.user).await.map_err(conflict)?
        }
        Some(account) => match wanted(&account, &link) {
            Some(email) => Some(replace_email(tx, account, &email, now).await?),
            None => None,
        },
    };
    tx.tokens().withdraw_of_address(link.user, &link.email_key).await?;
    Ok(account.map(|account| account.user))
}

/// The address that the link was mailed to, if the account waits for it.
fn wanted(account: &Account, link: &MailedLink) -> Option<Email> {
    account.pending().filter(|pending| account.user.verified && pending.key() == link.email_key)
}

/// Gives an account the address that it waited for; it holds the old one for a while. Accounts that
/// asked for the address and were not verified first lose it, and with it all they are.
async fn replace_email(
    tx: &mut Tx,
    account: Account,
    new: &Email,
    now: Timestamp,
) -> Result<Account> {
    let user = account.user.id;
    tx.users().delete_unverified(&new.key()).await?;
    tx.users().free_address(&new.key(), now).await?;
    tx.tokens().withdraw(user, &[LinkKind::Reset]).await?;
    let emails = account.emails.replaced_by(new, now);
    let changed = tx.users().set_emails(user, &emails).await.map_err(conflict)?;
    let gone = || Error::internal("an account vanished within a transaction");
    let changed = changed.ok_or_else(gone)?;
    if let Ok(to) = Email::parse(&account.user.email) {
        let username = account.user.username;
        let mail = Mail { kind: MailKind::EmailChanged, to, username, nonce: None };
        let how = Enqueue::now(now).of_user(user).expires_at(now.plus(NOTICE_LIFETIME));
        tx.jobs().enqueue(&mail, how).await?;
    }
    Ok(changed)
}
