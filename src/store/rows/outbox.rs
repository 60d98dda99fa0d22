//! Mails that an earlier natter has queued, or still queues beside this one. No other row is
//! written here: a mail is a job.

use mongodb::bson::{Binary, doc};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;

use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::domain::ids::{JobId, UserId};
use crate::domain::jobs::{Enqueue, Retry};
use crate::domain::mails::{Mail, MailKind};
use crate::domain::text::Email;
use crate::error;
use crate::store::Table;
use crate::store::bson::{date, id, optional_id};

/// A row of `outbox`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id", with = "id")]
    id: JobId,
    kind: String,
    to: String,
    username: String,
    #[serde(with = "optional_id", default)]
    user_id: Option<UserId>,
    nonce: Option<Binary>,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "date")]
    expires_at: Timestamp,
}

impl Row {
    /// The mail, and how it is enqueued: under the same id, from which its `Message-ID` is made.
    fn read(self) -> Option<(Mail, Enqueue)> {
        let nonce = self.nonce.map(|nonce| nonce.bytes.try_into()).transpose().ok()?;
        let kind: Result<_, ValueError> = MailKind::deserialize(self.kind.into_deserializer());
        let kind = kind.ok()?;
        let mail = Mail { kind, to: Email::parse(&self.to).ok()?, username: self.username, nonce };
        let how = Enqueue::now(self.created_at).expires_at(self.expires_at).of_user(self.user_id);
        Some((mail, how.with_id(self.id)))
    }
}

/// The collection `outbox`, for one command.
pub struct Outbox<'a>(Table<'a, Row>);

impl<'a> Outbox<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Takes a mail that is due, and so in no instance's hands; `Some(None)` where it cannot be
    /// read.
    pub async fn take_due(self, now: Timestamp) -> error::Result<Option<Option<(Mail, Enqueue)>>> {
        // A later attempt was planned before the clock was set back.
        let latest = now.plus(Retry::DEFAULT.longest_wait).plus(CLOCK_TOLERANCE);
        let due = doc! { "$or": [
            { "next_attempt_at": { "$lte": now } }, { "next_attempt_at": { "$gt": latest } },
        ] };
        Ok(self.0.take(due).await?.map(Row::read))
    }
}
