//! Changes of members' rows by new messages: the number of messages that each member has sent, and
//! the message of a direct conversation that waits.

use std::collections::{BTreeSet, HashMap};

use mongodb::bson::{Binary, Document, doc};
use serde::Deserialize;

use super::{Members, begun_direct, key};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::RowUpdate;
use crate::store::bson::{id, int};

/// A row, as far as what its member has sent.
#[derive(Debug, Deserialize)]
struct SentRow {
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    own_total: u64,
}

/// A change of a member's row by new messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberUpdate {
    /// The conversation.
    pub conversation: ConversationId,
    /// The member.
    pub user: UserId,
    /// Of a direct conversation, when it began: its first message makes the rows of its members.
    pub direct_since: Option<Timestamp>,
    /// The change.
    pub change: MemberChange,
}

/// The change of one member by new messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// How many messages they have sent.
    SentCount(u64),
    /// The message that waits for them, and when it was sent.
    Waiting(u64, Timestamp),
}

impl Members<'_> {
    /// How many messages each of some members has sent; missing are those who are no members.
    pub async fn sent_counts(
        self,
        members: impl Iterator<Item = (ConversationId, UserId)>,
    ) -> Result<HashMap<(ConversationId, UserId), u64>> {
        let members: BTreeSet<_> = members.collect();
        let keys: Vec<Binary> = members.iter().map(|(at, user)| key(*at, *user)).collect();
        let fields = doc! { "_id": 0, "conversation_id": 1, "user_id": 1, "own_total": 1 };
        let rows = self.0.only::<SentRow>(fields).all(doc! { "_id": { "$in": keys } }).await?;
        Ok(rows
            .into_iter()
            .map(|row| ((row.conversation_id, row.user_id), row.own_total))
            .collect())
    }

    /// Makes these changes, all in one command.
    pub async fn note_sent(self, updates: &[MemberUpdate]) -> Result<()> {
        self.0.update_each(updates.iter().map(row_update).collect()).await
    }
}

fn row_update(update: &MemberUpdate) -> RowUpdate {
    let MemberUpdate { conversation, user, direct_since, change } = *update;
    let set = match change {
        MemberChange::SentCount(count) => doc! { "own_total": int(count) },
        MemberChange::Waiting(seq, at) => doc! { "waiting_seq": int(seq), "waiting_at": at },
    };
    let row = doc! { "_id": key(conversation, user) };
    let Some(since) = direct_since else { return RowUpdate::of(row, doc! { "$set": set }) };
    let born = begun_direct(conversation, user, since).into_iter();
    let born: Document = born.filter(|(name, _)| !set.contains_key(name)).collect();
    RowUpdate::of(row, doc! { "$set": set, "$setOnInsert": born }).or_insert()
}
