//! Deleted messages, one row each under the message's key: what unread counts leave out.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{date, id};

/// A row of `deletions`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct DeletionRow {
    #[serde(rename = "_id", with = "id")]
    message: MessageId,
    #[serde(with = "id")]
    sender: UserId,
    #[serde(with = "date")]
    at: Timestamp,
}

/// Messages of a conversation whose numbers are greater than `after` and less than `before`.
#[derive(Debug, Clone, Copy)]
pub struct Between {
    /// The conversation.
    pub conversation: ConversationId,
    /// The number before the first.
    pub after: u64,
    /// The number after the last.
    pub before: u64,
}

impl Between {
    fn range(self) -> Document {
        let bound = |seq| Bson::from(MessageId::new(self.conversation, seq));
        doc! { "_id": { "$gt": bound(self.after), "$lt": bound(self.before) } }
    }
}

/// The collection `deletions`, for one command.
pub struct Deletions<'a>(Table<'a, DeletionRow>);

impl<'a> Deletions<'a> {
    pub(super) fn new(table: Table<'a, DeletionRow>) -> Self {
        Self(table)
    }

    /// Notes that a message was deleted.
    pub async fn add(self, message: MessageId, sender: UserId, at: Timestamp) -> Result<()> {
        self.0.insert(DeletionRow { message, sender, at }).await
    }

    /// The numbers of a sender's deleted messages there.
    pub async fn of_sender(self, between: Between, sender: UserId) -> Result<Vec<u64>> {
        let rows = self.0.all(between.range()).await?;
        Ok(rows.iter().filter(|row| row.sender == sender).map(|row| row.message.seq).collect())
    }

    /// How many messages of anyone but `reader` were deleted in each of these ranges, which are
    /// of different conversations.
    pub async fn of_others(
        self,
        ranges: &[Between],
        reader: UserId,
    ) -> Result<HashMap<ConversationId, u64>> {
        let mut counts = HashMap::new();
        if ranges.is_empty() {
            return Ok(counts);
        }
        let ranges: Vec<Document> = ranges.iter().map(|between| between.range()).collect();
        let rows = self.0.all(doc! { "$or": ranges }).await?;
        for row in rows.iter().filter(|row| row.sender != reader) {
            *counts.entry(row.message.conversation).or_default() += 1;
        }
        Ok(counts)
    }
}
