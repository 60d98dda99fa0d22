//! Conversations of groups: opened with the group, closed when nobody is in it any more.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::ids::ConversationId;
use crate::error::Result;
use crate::repositories::store::Table;

#[derive(Debug, Deserialize)]
struct LastSeq {
    last_seq: u64,
}

/// The collection `conversations`, for one command.
pub struct Conversations<'a>(Table<'a, Document>);

impl<'a> Conversations<'a> {
    pub(super) fn new(table: Table<'a, Document>) -> Self {
        Self(table)
    }

    /// Opens the conversation of a new group.
    pub async fn open(self, conversation: ConversationId, at: Timestamp) -> Result<()> {
        let summary = doc! {
            "_id": conversation,
            "kind": "group",
            "last_seq": 0_i64,
            "last_at": at,
            "revision": 0_i64,
            "created_at": at,
        };
        self.0.insert(summary).await
    }

    /// The number of the last message; 0 where there is none.
    pub async fn last_seq(self, conversation: ConversationId) -> Result<u64> {
        let summary = self.0.only::<LastSeq>(doc! { "last_seq": 1 });
        let summary = summary.one(doc! { "_id": conversation }).await?;
        Ok(summary.map_or(0, |summary| summary.last_seq))
    }

    /// Closes the conversation of a group. Its messages stay where no member can reach them.
    pub async fn close(self, conversation: ConversationId) -> Result<()> {
        self.0.delete(doc! { "_id": conversation }).await
    }
}
