//! Deleted messages, one row each under the message's key: what unread counts leave out.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error as DriverError;
use serde::{Deserialize, Serialize};

use super::bson::{date, id};
use super::store::{Collection, Store, Tx, all_in};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, MessageId, UserId};

/// A row of `deletions`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "_id", with = "id")]
    message: MessageId,
    #[serde(with = "id")]
    sender: UserId,
    #[serde(with = "date")]
    at: Timestamp,
}

/// The collection `deletions`.
#[derive(Debug, Clone)]
pub(super) struct Deletions {
    rows: Collection<Row>,
}

/// Numbers from after `after` to before `before` of a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    pub conversation: ConversationId,
    pub after: u64,
    pub before: u64,
}

impl Between {
    fn range(self) -> Document {
        let bound = |seq| Bson::from(MessageId::new(self.conversation, seq));
        doc! { "_id": { "$gt": bound(self.after), "$lt": bound(self.before) } }
    }
}

impl Deletions {
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("deletions") }
    }

    /// Notes that a message was deleted.
    pub async fn add(
        &self,
        tx: &mut Tx,
        message: MessageId,
        sender: UserId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        self.rows.insert_one(Row { message, sender, at }).session(tx.session()).await?;
        Ok(())
    }

    /// The numbers of a sender's deleted messages there.
    pub async fn of_sender(
        &self,
        tx: &mut Tx,
        between: Between,
        sender: UserId,
    ) -> Result<Vec<u64>, DriverError> {
        let found = self.rows.find(between.range()).session(tx.session()).await?;
        let rows = all_in(tx.session(), found).await?;
        Ok(rows.iter().filter(|row| row.sender == sender).map(|row| row.message.seq).collect())
    }

    /// How many messages of anyone but `reader` were deleted in each of these ranges, which are
    /// of different conversations.
    pub async fn of_others(
        &self,
        tx: &mut Tx,
        ranges: &[Between],
        reader: UserId,
    ) -> Result<HashMap<ConversationId, u64>, DriverError> {
        let mut counts = HashMap::new();
        if ranges.is_empty() {
            return Ok(counts);
        }
        let ranges: Vec<Document> = ranges.iter().map(|between| between.range()).collect();
        let found = self.rows.find(doc! { "$or": ranges }).session(tx.session()).await?;
        let rows = all_in(tx.session(), found).await?;
        for row in rows.iter().filter(|row| row.sender != reader) {
            *counts.entry(row.message.conversation).or_default() += 1;
        }
        Ok(counts)
    }
}
