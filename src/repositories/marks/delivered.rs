//! Delivered marks, many at once.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use super::MarksRepository;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::repositories::bson::id;
use crate::repositories::members;
use crate::repositories::store::{all, within};

/// Up to which message everything has come to a user's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// The number of the last, as clients say: the greatest first. What is past the last message
    /// of the conversation is not so.
    pub seqs: Vec<u64>,
}

/// A row of `conversations`, as far as how far it is.
#[derive(Debug, Deserialize)]
struct Length {
    #[serde(rename = "_id", with = "id")]
    id: ConversationId,
    last_seq: u64,
}

impl MarksRepository {
    /// Moves delivered marks, all in one command; never back, only of members, and none to where
    /// there is no message yet.
    ///
    /// # Errors
    /// When the store is away: some may have been moved.
    pub async fn deliver(&self, deliveries: &[Delivery], at: Timestamp) -> Result<()> {
        let lengths = self.lengths(deliveries).await?;
        let updates: Vec<Document> = deliveries
            .iter()
            .filter_map(|it| {
                let last = lengths.get(&it.conversation)?;
                let seq = it.seqs.iter().find(|seq| *seq <= last)?;
                let seq = i64::try_from(*seq).ok()?;
                let key = members::key(it.conversation, it.user);
                let moved = doc! { "$set": { "delivered_seq": seq, "delivered_at": at } };
                let behind = doc! { "_id": key, "delivered_seq": { "$lt": seq } };
                Some(doc! { "q": behind, "u": moved })
            })
            .collect();
        if updates.is_empty() {
            return Ok(());
        }
        let command = doc! {
            "update": self.rows.name(),
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        let reply = within(&self.store, self.store.database().run_command(command)).await?;
        match (reply.get_array("writeErrors"), reply.get("writeConcernError")) {
            (Err(_), None) => Ok(()),
            (errors, concern) => {
                let first = errors.ok().and_then(|errors| errors.first()).or(concern);
                let first = first.map(Bson::to_string).unwrap_or_default();
                Err(Error::unavailable().with_source(first))
            }
        }
    }

    /// The number of the last message of each conversation.
    async fn lengths(&self, deliveries: &[Delivery]) -> Result<HashMap<ConversationId, u64>> {
        let mut ids: Vec<ConversationId> = deliveries.iter().map(|it| it.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = self.store.collection::<Length>("conversations");
        let find = rows.find(doc! { "_id": { "$in": ids } }).projection(doc! { "last_seq": 1 });
        Ok(all(&rows, find).await?.into_iter().map(|row| (row.id, row.last_seq)).collect())
    }
}
