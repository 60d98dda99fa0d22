//! A page of the inbox: direct conversations by their index, groups by key, merged.

use std::collections::HashMap;

use mongodb::bson::doc;
use mongodb::error::Error as DriverError;

use super::snapshot::groups_of;
use super::{Marks, MarksRepository, MarksRow};
use crate::domain::conversations::{InboxPosition, Summary};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::rows::members;
use crate::repositories::store::{Tx, within};

impl MarksRepository {
    /// Up to `count` of a user's conversations, the latest activity first, from after `before`
    /// on. Reads so many direct conversations and all of the user's groups (500 at most), with
    /// the user's row in each; never a message.
    pub async fn inbox(
        &self,
        user: UserId,
        before: Option<InboxPosition>,
        count: usize,
    ) -> Result<Vec<Marks>> {
        within(&self.store, async {
            let mut tx = self.store.snapshot().await?;
            let limit = i64::try_from(count).unwrap_or(i64::MAX);
            let mut found: Vec<Summary> = self
                .conversations
                .direct_in(&mut tx, user, before, limit)
                .await?
                .into_iter()
                .map(Summary::from)
                .collect();
            let groups = self.rows_in(&mut tx, groups_of(user), doc! {}, 0).await?;
            let ids: Vec<ConversationId> = groups.iter().map(|row| row.conversation_id).collect();
            if !ids.is_empty() {
                let rows = self.conversations.many_in(&mut tx, &ids).await?;
                found.extend(rows.into_iter().map(Summary::from));
            }
            found.retain(|summary| before.is_none_or(|before| position(summary) < before));
            found.sort_by_key(|summary| std::cmp::Reverse(position(summary)));
            found.truncate(count);
            self.with_rows(&mut tx, user, groups, found).await
        })
        .await
    }

    /// Conversations with the user's row in each: those of groups were read already.
    async fn with_rows(
        &self,
        tx: &mut Tx,
        user: UserId,
        groups: Vec<MarksRow>,
        page: Vec<Summary>,
    ) -> Result<Vec<Marks>, DriverError> {
        let mut known: HashMap<ConversationId, MarksRow> =
            groups.into_iter().map(|row| (row.conversation_id, row)).collect();
        let missing: Vec<_> = page
            .iter()
            .filter(|summary| !known.contains_key(&summary.id))
            .map(|summary| members::key(summary.id, user))
            .collect();
        if !missing.is_empty() {
            let direct = doc! { "_id": { "$in": missing } };
            let rows = self.rows_in(tx, direct, doc! {}, 0).await?;
            known.extend(rows.into_iter().map(|row| (row.conversation_id, row)));
        }
        let rows = page.iter().filter_map(|summary| known.remove(&summary.id)).collect();
        let page = page.into_iter().map(|summary| (summary.id, summary)).collect();
        self.joined(tx, user, rows, page).await
    }
}

/// A conversation's place in an inbox.
fn position(summary: &Summary) -> InboxPosition {
    InboxPosition { at: summary.last_at, id: summary.id }
}
