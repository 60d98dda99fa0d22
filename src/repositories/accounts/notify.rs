//! Queues the security mail of a change, in the change's transaction.

use super::Accounts;
use crate::domain::clock::Timestamp;
use crate::domain::jobs::Enqueue;
use crate::domain::mails::Mail;
use crate::domain::text::Email;
use crate::error::Result;
use crate::repositories::bson::raw;
use crate::repositories::notices::Notice;
use crate::repositories::store::Tx;
use crate::repositories::{tokens, users};

impl Accounts {
    /// Queues a notice to the address of this row, unless one of its kind went out lately.
    pub(in crate::repositories) async fn notify(
        &self,
        row: &users::Row,
        notice: &Notice,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<()> {
        let Ok(to) = Email::parse(&row.email) else { return Ok(()) };
        if self.windows.take(&notice.rule, now, tx).await?.is_some() {
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
            self.tokens.rows.insert_one(token).session(tx.session()).await?;
        }
        let nonce = notice.undo.as_ref().map(|undo| undo.nonce);
        let mail = Mail { kind: notice.kind, to, username: row.username.clone(), nonce };
        let how = Enqueue::now(now).of_user(row.id).expires_at(notice.expires_at);
        tx.jobs().enqueue(&mail, how).await.map(drop)
    }
}
