//! Mails that wait to be sent: a row each until a mail server has taken it.

use std::time::Duration;

use mongodb::bson::{Binary, doc};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::bson::{date, optional_id, raw};
use super::store::{Collection, Store, within};
use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp, random_bytes};
use crate::domain::ids::UserId;
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;
use crate::error::{Error, Result};

/// How long a claimed mail is left to the instance that claimed it.
const LEASE: Duration = Duration::from_mins(1);

/// The longest wait before another attempt.
pub const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// The collection `outbox`.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(super) rows: Collection<Row>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id")]
    id: Binary,
    kind: String,
    to: String,
    username: String,
    /// Whose mail it is, as far as that is known: it goes with the account.
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    nonce: Option<Binary>,
    attempts: i32,
    #[serde(with = "date")]
    next_attempt_at: Timestamp,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "date")]
    expires_at: Timestamp,
}

impl Row {
    pub(super) fn new(
        mail: &Mail,
        user: Option<UserId>,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            user_id: user,
            id: raw(random_bytes::<16>()),
            kind: mail.kind.name().to_owned(),
            to: mail.to.as_str().to_owned(),
            username: mail.username.clone(),
            nonce: mail.nonce.map(raw),
            attempts: 0,
            next_attempt_at: now,
            created_at: now,
            expires_at,
        }
    }
}

/// A mail that is this instance's to send for a minute.
#[derive(Debug)]
pub struct Claim {
    pub(super) id: Binary,
    /// Whose mail it is; `None` where that is yet to be looked up.
    pub user: Option<UserId>,
    /// How many times it has been claimed, this one included.
    pub attempts: u32,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When sending it becomes pointless.
    pub expires_at: Timestamp,
    /// What to send.
    pub mail: Mail,
}

impl Claim {
    /// What the mail is known by, however often it is sent: 32 hexadecimal digits.
    #[must_use]
    pub fn reference(&self) -> String {
        self.id.bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl Outbox {
    /// The outbox of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("outbox") }
    }

    /// Queues a mail by itself, whose account is looked up when it is about to go.
    pub async fn queue(&self, mail: &Mail, now: Timestamp, expires_at: Timestamp) -> Result<()> {
        within(&self.rows, self.rows.insert_one(Row::new(mail, None, now, expires_at))).await?;
        Ok(())
    }

    /// Claims the mail that has been due longest; `None` when none is. Whoever has not settled
    /// its claim in time loses it to the next that asks.
    pub async fn claim(&self, now: Timestamp) -> Result<Option<Claim>> {
        // A later attempt was planned before the clock was set back.
        let latest = now.plus(LONGEST_WAIT).plus(CLOCK_TOLERANCE);
        let due = doc! { "$or": [
            { "next_attempt_at": { "$lte": now } }, { "next_attempt_at": { "$gt": latest } },
        ] };
        let claimed = self
            .rows
            .find_one_and_update(
                due,
                doc! { "$set": { "next_attempt_at": now.plus(LEASE) }, "$inc": { "attempts": 1 } },
            )
            .sort(doc! { "next_attempt_at": 1 })
            .return_document(ReturnDocument::After);
        within(&self.rows, claimed).await?.map(Claim::try_from).transpose()
    }

    /// Forgets a mail that was sent, or never will be.
    pub async fn remove(&self, claim: &Claim) -> Result<()> {
        within(&self.rows, self.rows.delete_one(doc! { "_id": claim.id.clone() })).await?;
        Ok(())
    }

    /// Gives a mail back, to be tried again at `at`; too late if the claim was lost.
    pub async fn retry_at(&self, claim: &Claim, at: Timestamp) -> Result<()> {
        let mine = doc! { "_id": claim.id.clone(), "attempts": claim.attempts };
        within(&self.rows, self.rows.update_one(mine, doc! { "$set": { "next_attempt_at": at } }))
            .await?;
        Ok(())
    }
}

impl TryFrom<Row> for Claim {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let unreadable = || Error::internal("an unreadable row in the outbox");
        let nonce = row.nonce.map(|nonce| nonce.bytes.try_into()).transpose();
        Ok(Self {
            id: row.id,
            user: row.user_id,
            attempts: row.attempts.try_into().unwrap_or(u32::MAX),
            created_at: row.created_at,
            expires_at: row.expires_at,
            mail: Mail {
                kind: MailKind::from_name(&row.kind).ok_or_else(unreadable)?,
                to: Email::parse(&row.to).map_err(|_| unreadable())?,
                username: row.username,
                nonce: nonce.map_err(|_| unreadable())?,
            },
        })
    }
}
