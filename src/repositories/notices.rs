//! Security mails: written in the transaction of what they tell of, to the address that the
//! account has there and then.

use mongodb::ClientSession;

use super::accounts::Accounts;
use super::bson::raw;
use super::rate_windows::RateRule;
use super::store::Abort;
use super::{outbox, tokens, users};
use crate::domain::clock::Timestamp;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;

/// A security mail to be.
#[derive(Debug, Clone)]
pub struct Notice {
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
pub struct UndoLink {
    /// The nonce that its token is made from.
    pub nonce: [u8; 16],
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Accounts {
    /// Queues a notice to the address of this row, unless one of its kind went out lately.
    pub(super) async fn notify(
        &self,
        row: &users::Row,
        notice: &Notice,
        now: Timestamp,
        session: &mut ClientSession,
    ) -> Result<(), Abort> {
        let Ok(to) = Email::parse(&row.email) else { return Ok(()) };
        if self.windows.take(&notice.rule, now, session).await?.is_some() {
            return Ok(());
        }
        if let Some(undo) = &notice.undo {
            let token = tokens::Row {
                digest: raw(undo.digest),
                kind: tokens::UNDO.to_owned(),
                user_id: row.id,
                email_key: row.email_key.clone(),
                expires_at: undo.expires_at,
            };
            self.tokens.rows.insert_one(token).session(&mut *session).await?;
        }
        let nonce = notice.undo.as_ref().map(|undo| undo.nonce);
        let mail = Mail { kind: notice.kind, to, username: row.username.clone(), nonce };
        let mail = outbox::Row::new(&mail, Some(row.id), now, notice.expires_at);
        self.outbox.rows.insert_one(mail).session(session).await?;
        Ok(())
    }
}
