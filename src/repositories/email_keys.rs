//! Keys of addresses that an earlier natter stored: domains are compared as A-labels now.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};

use super::accounts::Accounts;
use super::store::{Collection, duplicate, within, within_raw};
use crate::domain::text::Email;
use crate::error::Result;

impl Accounts {
    /// Gives accounts and mailed tokens whose address has a domain of another script the keys that
    /// are compared. Again changes nothing. Two accounts of one mailbox both stay: the one that has
    /// the key keeps it, and how many others there are is the answer.
    ///
    /// # Errors
    /// When the store is away: some have theirs then.
    pub async fn renew_email_keys(&self) -> Result<u64> {
        let tokens = self.tokens.rows.clone_with_type::<Document>();
        renew(&tokens).await?;
        renew(&self.users.rows.clone_with_type::<Document>()).await
    }
}

/// One pass over what is not of ASCII; how many cannot have their key.
async fn renew(rows: &Collection<Document>) -> Result<u64> {
    let others = doc! { "email_key": { "$regex": "[^\\x00-\\x7f]" } };
    let fields = doc! { "email_key": 1 };
    let mut found = within(rows, rows.find(others).projection(fields)).await?;
    let mut taken = 0;
    while let Some(row) = within(rows, async { found.try_next().await }).await? {
        let former = row.get_str("email_key").unwrap_or_default();
        let Ok(email) = Email::parse(former) else { continue };
        let own =
            doc! { "_id": row.get("_id").cloned().unwrap_or(Bson::Null), "email_key": former };
        let renewed = doc! { "$set": { "email_key": email.key() } };
        match within_raw(rows, rows.update_one(own, renewed)).await? {
            Err(error) if duplicate(&error).is_some() => taken += 1,
            outcome => drop(outcome?),
        }
    }
    Ok(taken)
}
