//! How far each member of a conversation is.

use mongodb::bson::doc;
use serde::Deserialize;

use super::shown::Shown;
use super::{Members, key};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Receipt;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::bson::{id, optional_date};

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
    /// The marks that others see instead, under a block.
    #[serde(default)]
    shown: Option<Shown>,
}

impl ReceiptRow {
    fn seen_by(self, reader: UserId) -> Receipt {
        let Self { user_id, read_seq, read_at, delivered_seq, delivered_at, shown } = self;
        let own = Shown { read_seq, read_at, delivered_seq, delivered_at };
        let Shown { read_seq, read_at, delivered_seq, delivered_at } =
            shown.filter(|_| user_id != reader).unwrap_or(own);
        Receipt { user: user_id, read_seq, read_at, delivered_seq, delivered_at }
    }
}

impl Members<'_> {
    /// How far up to `count` members are, as a reader is shown it, in the order of their ids, from
    /// after `after` on.
    pub async fn receipts(
        self,
        conversation: ConversationId,
        reader: UserId,
        after: Option<UserId>,
        count: usize,
    ) -> Result<Vec<Receipt>> {
        let bound = |user: [u8; 16]| key(conversation, UserId::from_bytes(user));
        let mut range = doc! { "$lte": bound([0xff; 16]) };
        match after {
            Some(after) => range.insert("$gt", key(conversation, after)),
            None => range.insert("$gte", bound([0; 16])),
        };
        let rows = self.0.of::<ReceiptRow>().sorted(doc! { "_id": 1 }).first(count);
        let rows = rows.all(doc! { "_id": range }).await?;
        Ok(rows.into_iter().map(|row| row.seen_by(reader)).collect())
    }
}
