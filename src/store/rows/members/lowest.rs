//! The lowest marks of conversations.

use mongodb::bson::{Binary, Document, doc};
use serde::Deserialize;

use super::shown::Shown;
use super::{Members, key};
use crate::domain::conversations::LowMark;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::bson::id;

/// A row with marks that are among the lowest.
#[derive(Debug, Deserialize)]
struct LowRow {
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    read_seq: u64,
    delivered_seq: u64,
    /// The marks that others see instead, under a block.
    #[serde(default)]
    shown: Option<Shown>,
    /// The mark that is among the lowest; both, where there is none.
    #[serde(default)]
    of: Option<String>,
}

impl From<LowRow> for LowMark {
    fn from(row: LowRow) -> Self {
        let is = |name| row.of.as_deref().is_none_or(|of| of == name);
        let read = row.shown.map_or(row.read_seq, |shown| shown.read_seq);
        let delivered = row.shown.map_or(row.delivered_seq, |shown| shown.delivered_seq);
        Self {
            conversation: row.conversation_id,
            user: row.user_id,
            read: is("read_seq").then_some(read),
            delivered: is("delivered_seq").then_some(delivered),
        }
    }
}

impl Members<'_> {
    /// The marks of some members.
    pub async fn marks_of(self, members: &[(ConversationId, UserId)]) -> Result<Vec<LowMark>> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Binary> = members.iter().map(|(at, user)| key(*at, *user)).collect();
        let rows = self.0.of::<LowRow>().all(doc! { "_id": { "$in": keys } }).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The two lowest read marks and the two lowest delivered marks of each of some groups: two
    /// index entries for each mark, however many members a group has.
    pub async fn two_lowest(self, groups: &[ConversationId]) -> Result<Vec<LowMark>> {
        let mut pipelines = groups
            .iter()
            .flat_map(|group| ["read_seq", "delivered_seq"].map(|mark| two_lowest(*group, mark)));
        let Some(mut pipeline) = pipelines.next() else { return Ok(Vec::new()) };
        let name = self.0.name().to_owned();
        let others = pipelines
            .map(|pipeline| doc! { "$unionWith": { "coll": &name, "pipeline": pipeline } });
        pipeline.extend(others);
        let rows = self.0.of::<LowRow>().aggregate(pipeline).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

fn two_lowest(group: ConversationId, mark: &str) -> Vec<Document> {
    vec![
        doc! { "$match": { "conversation_id": group } },
        doc! { "$sort": { "conversation_id": 1, mark: 1 } },
        doc! { "$limit": 2 },
        doc! { "$set": { "of": mark } },
    ]
}
