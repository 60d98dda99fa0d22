//! The lowest marks of conversations, for the status of their messages.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::MarksRepository;
use crate::domain::conversations::{Kind, Summary};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::messages::OthersMarks;
use crate::error::Result;
use crate::repositories::bson::id;
use crate::repositories::rows::members;
use crate::repositories::rows::members::shown::Shown;
use crate::repositories::store::all;

/// One of the two lowest marks of a conversation.
#[derive(Debug, Deserialize)]
struct Lowest {
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    read_seq: u64,
    delivered_seq: u64,
    /// The marks shown instead, under a block.
    #[serde(default)]
    shown: Option<Shown>,
    /// Which mark this row has among the lowest.
    #[serde(default)]
    of: String,
}

impl MarksRepository {
    /// The lowest marks in a group's conversation.
    pub async fn lowest(&self, conversation: ConversationId) -> Result<OthersMarks> {
        let rows = self.lowest_of_groups(&[conversation]).await?;
        Ok(marks(&rows.iter().collect::<Vec<_>>(), Kind::Group))
    }

    /// The lowest marks in some conversations: of a group two index entries for each mark,
    /// however many members it has; of a direct one both members by their keys.
    pub async fn lowest_in(
        &self,
        summaries: &[&Summary],
    ) -> Result<HashMap<ConversationId, OthersMarks>> {
        let is_group = |summary: &&&Summary| summary.kind == Kind::Group;
        let groups: Vec<ConversationId> =
            summaries.iter().filter(is_group).map(|summary| summary.id).collect();
        let (direct, groups) =
            tokio::try_join!(self.direct_rows(summaries), self.lowest_of_groups(&groups))?;
        let mut rows: HashMap<ConversationId, Vec<&Lowest>> = HashMap::new();
        for row in direct.iter().chain(&groups) {
            rows.entry(row.conversation_id).or_default().push(row);
        }
        let found = summaries.iter().map(|summary| {
            let rows = rows.remove(&summary.id).unwrap_or_default();
            (summary.id, marks(&rows, summary.kind))
        });
        Ok(found.collect())
    }

    async fn direct_rows(&self, summaries: &[&Summary]) -> Result<Vec<Lowest>> {
        let direct = summaries.iter().filter(|summary| summary.kind == Kind::Direct);
        let keys: Vec<_> = direct
            .flat_map(|summary| summary.members.iter().map(|user| members::key(summary.id, *user)))
            .collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        all(&self.rows, self.rows.clone_with_type::<Lowest>().find(doc! { "_id": { "$in": keys } }))
            .await
    }

    async fn lowest_of_groups(&self, groups: &[ConversationId]) -> Result<Vec<Lowest>> {
        let mut pipelines = groups
            .iter()
            .flat_map(|group| ["read_seq", "delivered_seq"].map(|mark| two_lowest(*group, mark)));
        let Some(mut pipeline) = pipelines.next() else { return Ok(Vec::new()) };
        let others = pipelines
            .map(|pipeline| doc! { "$unionWith": { "coll": "members", "pipeline": pipeline } });
        pipeline.extend(others);
        all(&self.rows, self.rows.aggregate(pipeline).with_type::<Lowest>()).await
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

/// The two lowest of each mark; rows of a direct conversation count for both.
fn marks(rows: &[&Lowest], kind: Kind) -> OthersMarks {
    let two = |of: &str, mark: fn(&Lowest) -> u64| {
        let rows = rows.iter().filter(|row| kind == Kind::Direct || row.of == of);
        let mut marks: Vec<_> = rows.map(|row| (row.user_id, mark(row))).collect();
        marks.sort_unstable_by_key(|(_, seq)| *seq);
        [marks.first().copied(), marks.get(1).copied()]
    };
    OthersMarks {
        read: two("read_seq", |row| row.shown.map_or(row.read_seq, |shown| shown.read_seq)),
        delivered: two("delivered_seq", |row| {
            row.shown.map_or(row.delivered_seq, |shown| shown.delivered_seq)
        }),
    }
}
