//! Keys of addresses that an earlier natter stored: domains are compared as A-labels now.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::date;
use super::rows::tokens::Tokens;
use super::rows::users::Users;
use super::{Collection, META, Store, duplicate, within, within_raw};
use crate::domain::clock::Timestamp;
use crate::domain::text::Email;
use crate::error::Result;

/// The row of `meta` about the passes that were made.
const PASSES: &str = "email_keys";

/// How long after the first pass another one is made: an instance of an earlier natter may have
/// been running beside the first.
const SECOND_PASS: Duration = Duration::from_hours(24);

#[derive(Debug, Serialize, Deserialize)]
struct Passes {
    #[serde(rename = "_id")]
    id: String,
    #[serde(with = "date")]
    first_at: Timestamp,
    is_done: bool,
}

impl Store {
    /// Gives accounts and mailed tokens whose address has a domain of another script the keys that
    /// are compared. A database gets two passes in its life, at least a day apart. Two accounts of
    /// one mailbox both stay: the one that has the key keeps it, and how many others there are is
    /// the answer.
    ///
    /// # Errors
    /// When the store is away: some have theirs then.
    pub async fn renew_email_keys(&self, now: Timestamp) -> Result<u64> {
        let before = self.table::<Passes>(META).one(doc! { "_id": PASSES }).await?;
        if before.as_ref().is_some_and(|passes| passes.is_done) {
            return Ok(0);
        }
        renew(&Tokens::collection(self)).await?;
        let taken = renew(&Users::collection(self)).await?;
        let first_at = before.map_or(now, |passes| passes.first_at);
        let is_done = first_at.plus(SECOND_PASS) < now;
        let passes = Passes { id: PASSES.to_owned(), first_at, is_done };
        self.table(META).put(doc! { "_id": PASSES }, passes).await?;
        Ok(taken)
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
