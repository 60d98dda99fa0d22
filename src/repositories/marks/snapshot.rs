//! Member rows and their conversations as they were at one moment, so that what is computed from
//! both is exact.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;

use super::{Marks, MarksRepository, MarksRow};
use crate::domain::conversations::Summary;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::deletions::Between;
use crate::repositories::rows::members;
use crate::repositories::store::{Tx, all_in, within};

impl MarksRepository {
    /// How far a member is; `None` for outsiders.
    pub async fn of(&self, conversation: ConversationId, user: UserId) -> Result<Option<Marks>> {
        let row = doc! { "_id": members::key(conversation, user) };
        Ok(self.snapshot(user, row, doc! {}, 1).await?.pop())
    }

    /// All of a user's groups.
    pub async fn groups(&self, user: UserId) -> Result<Vec<Marks>> {
        self.snapshot(user, groups_of(user), doc! {}, 0).await
    }

    /// A user's marks that a filter finds.
    pub(super) async fn snapshot(
        &self,
        user: UserId,
        rows: Document,
        sort: Document,
        limit: i64,
    ) -> Result<Vec<Marks>> {
        within(&self.store, async {
            let mut tx = self.store.snapshot().await?;
            let rows = self.rows_in(&mut tx, rows, sort, limit).await?;
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<ConversationId> = rows.iter().map(|row| row.conversation_id).collect();
            let summaries = self.conversations.many_in(&mut tx, &ids).await?;
            let summaries = summaries.into_iter().map(|row| (row.id, row.into())).collect();
            self.joined(&mut tx, user, rows, summaries).await
        })
        .await
    }

    /// Rows with their conversations, and what was deleted since.
    pub(super) async fn joined(
        &self,
        tx: &mut Tx,
        user: UserId,
        rows: Vec<MarksRow>,
        mut summaries: HashMap<ConversationId, Summary>,
    ) -> Result<Vec<Marks>, DriverError> {
        let deleted_since: Vec<Between> = rows
            .iter()
            .filter_map(|row| summaries.get(&row.conversation_id).map(|summary| (row, summary)))
            .filter(|(row, summary)| summary.deleted_seq > row.read_seq)
            .map(|(row, summary)| Between {
                conversation: summary.id,
                after: row.read_seq,
                before: summary.last_seq + 1,
            })
            .collect();
        let deleted = self.deletions.of_others(tx, &deleted_since, user).await?;
        let marks = rows.iter().filter_map(|row| {
            let summary = summaries.remove(&row.conversation_id)?;
            let deleted = deleted.get(&summary.id).copied().unwrap_or_default();
            Some(Marks::new(row, summary, deleted))
        });
        Ok(marks.collect())
    }

    pub(super) async fn rows_in(
        &self,
        tx: &mut Tx,
        filter: Document,
        sort: Document,
        limit: i64,
    ) -> Result<Vec<MarksRow>, DriverError> {
        let find = self.rows.find(filter).sort(sort).limit(limit);
        let found = find.session(tx.session()).await?;
        all_in(tx.session(), found).await
    }
}

/// The rows of a user's groups.
pub(super) fn groups_of(user: UserId) -> Document {
    doc! { "user_id": user, "kind": "group" }
}
