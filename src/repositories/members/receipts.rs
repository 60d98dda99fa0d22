//! How far each member of a conversation is.

use mongodb::bson::doc;
use serde::Deserialize;

use super::{Members, key};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Receipt;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::bson::{id, optional_date};
use crate::repositories::store::all;

/// How far a member is.
#[derive(Debug, Deserialize)]
struct ReceiptRow {
    #[serde(with = "id")]
    user_id: UserId,
    read_seq: u64,
    #[serde(with = "optional_date", default)]
    read_at: Option<Timestamp>,
    delivered_seq: u64,
    #[serde(with = "optional_date", default)]
    delivered_at: Option<Timestamp>,
}

impl From<ReceiptRow> for Receipt {
    fn from(row: ReceiptRow) -> Self {
        Self {
            user: row.user_id,
            read_seq: row.read_seq,
            read_at: row.read_at,
            delivered_seq: row.delivered_seq,
            delivered_at: row.delivered_at,
        }
    }
}

impl Members {
    /// How far up to `count` members are, in the order of their ids, from after `after` on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn receipts(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        count: usize,
    ) -> Result<Vec<Receipt>> {
        let bound = |user: [u8; 16]| key(conversation, UserId::from_bytes(user));
        let mut range = doc! { "$lte": bound([0xff; 16]) };
        match after {
            Some(after) => range.insert("$gt", key(conversation, after)),
            None => range.insert("$gte", bound([0; 16])),
        };
        let rows = self.rows.clone_with_type::<ReceiptRow>();
        let rows = rows
            .find(doc! { "_id": range })
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(all(&self.rows, rows).await?.into_iter().map(Receipt::from).collect())
    }
}
