//! Conversation summaries: what the inbox shows and the writer counts on, one row each.

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};

use super::bson::{date, id};
use super::store::{Collection, Store, Tx, all, all_in, older, within};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{InboxPosition, Kind, LastMessage, Summary};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;

/// The last message of a sender that a summary remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRow {
    pub seq: u64,
    #[serde(with = "id")]
    pub sender: UserId,
    #[serde(with = "date")]
    pub at: Timestamp,
    /// Whether it was deleted.
    #[serde(default)]
    pub deleted: bool,
}

/// A row of `conversations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ConversationRow {
    #[serde(rename = "_id", with = "id")]
    pub id: ConversationId,
    pub kind: Kind,
    /// Of a direct conversation, its two users; one, where someone writes to themselves.
    #[serde(default)]
    pub members: Vec<Member>,
    pub last_seq: u64,
    #[serde(with = "date")]
    pub last_at: Timestamp,
    /// Counts every change to a message that is there already.
    pub revision: u64,
    /// The greatest number of a deleted message.
    #[serde(default)]
    pub deleted_seq: u64,
    /// The numbers of pinned messages.
    #[serde(default)]
    pub pins: Vec<u64>,
    /// The last message.
    #[serde(default)]
    pub last: Option<LastRow>,
    /// The last message of anyone but its sender.
    #[serde(default)]
    pub other: Option<LastRow>,
    #[serde(with = "date")]
    pub created_at: Timestamp,
}

/// A user's id inside a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Member(#[serde(with = "id")] pub UserId);

impl From<LastRow> for LastMessage {
    fn from(row: LastRow) -> Self {
        Self { seq: row.seq, sender: row.sender, at: row.at, deleted: row.deleted }
    }
}

impl From<ConversationRow> for Summary {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            members: row.members.into_iter().map(|member| member.0).collect(),
            last_seq: row.last_seq,
            last_at: row.last_at,
            revision: row.revision,
            deleted_seq: row.deleted_seq,
            pins: row.pins,
            last: row.last.map(Into::into),
            other: row.other.map(Into::into),
        }
    }
}

/// The collection `conversations`.
#[derive(Debug, Clone)]
pub struct Conversations {
    rows: Collection<ConversationRow>,
}

impl Conversations {
    /// The conversations of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("conversations") }
    }

    /// One conversation's summary.
    pub async fn find(&self, id: ConversationId) -> Result<Option<Summary>> {
        Ok(within(&self.rows, self.rows.find_one(doc! { "_id": id })).await?.map(Into::into))
    }

    /// Several summaries, in no order.
    pub async fn many(&self, ids: &[ConversationId]) -> Result<Vec<Summary>> {
        let rows = all(&self.rows, self.rows.find(doc! { "_id": { "$in": ids.to_vec() } })).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Up to `limit` direct conversations of a user, the latest activity first, from after
    /// `before` on; inside a snapshot.
    pub(super) async fn direct_in(
        &self,
        tx: &mut Tx,
        user: UserId,
        before: Option<InboxPosition>,
        limit: i64,
    ) -> mongodb::error::Result<Vec<ConversationRow>> {
        let mut wanted = doc! { "members": user };
        if let Some(InboxPosition { at, id }) = before {
            wanted.insert("$or", older(["last_at", "_id"], [at.into(), id.into()]));
        }
        let find = self.rows.find(wanted).sort(doc! { "last_at": -1, "_id": -1 }).limit(limit);
        let found = find.session(tx.session()).await?;
        all_in(tx.session(), found).await
    }

    /// Several summaries, in no order; inside a snapshot.
    pub(super) async fn many_in(
        &self,
        tx: &mut Tx,
        ids: &[ConversationId],
    ) -> mongodb::error::Result<Vec<ConversationRow>> {
        let found =
            self.rows.find(doc! { "_id": { "$in": ids.to_vec() } }).session(tx.session()).await?;
        all_in(tx.session(), found).await
    }
}
