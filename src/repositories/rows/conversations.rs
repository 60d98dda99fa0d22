//! Conversation summaries: what the inbox shows and the writer counts on, one row each.

use std::collections::{BTreeSet, HashMap};

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::conversations::{InboxPosition, Kind, LastMessage, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::search::Place;
use crate::error::Result;
use crate::repositories::bson::{date, id, int};
use crate::repositories::store::{RowUpdate, Table};

/// The last message of a sender that a summary remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::repositories) struct LastRow {
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
pub(in crate::repositories) struct ConversationRow {
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
pub(in crate::repositories) struct Member(#[serde(with = "id")] pub UserId);

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

/// A row, as far as when something last happened.
#[derive(Debug, Deserialize)]
struct PlaceRow {
    #[serde(rename = "_id", with = "id")]
    id: ConversationId,
    #[serde(with = "date")]
    last_at: Timestamp,
}

impl From<PlaceRow> for Place {
    fn from(row: PlaceRow) -> Self {
        Self { id: row.id, last_at: row.last_at }
    }
}

#[derive(Debug, Deserialize)]
struct LastSeq {
    last_seq: u64,
}

/// The collection `conversations`, for one command.
pub struct Conversations<'a>(Table<'a, ConversationRow>);

impl<'a> Conversations<'a> {
    pub(super) fn new(table: Table<'a, ConversationRow>) -> Self {
        Self(table)
    }

    /// One conversation's summary.
    pub async fn find(self, id: ConversationId) -> Result<Option<Summary>> {
        Ok(self.0.one(doc! { "_id": id }).await?.map(Into::into))
    }

    /// Several summaries, in no order.
    pub async fn many(self, ids: &[ConversationId]) -> Result<Vec<Summary>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.0.all(doc! { "_id": { "$in": ids.to_vec() } }).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Rows by their ids, which may repeat.
    pub(in crate::repositories) async fn rows(
        self,
        ids: impl Iterator<Item = ConversationId>,
    ) -> Result<HashMap<ConversationId, ConversationRow>> {
        let ids: Vec<ConversationId> = ids.collect::<BTreeSet<_>>().into_iter().collect();
        let rows = self.0.all(doc! { "_id": { "$in": ids } }).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }

    /// Makes updates of rows in one command.
    pub(in crate::repositories) async fn update_each(self, updates: Vec<RowUpdate>) -> Result<()> {
        self.0.update_each(updates).await
    }

    /// Up to `count` direct conversations of a user, the latest activity first, from after
    /// `before` on.
    pub async fn direct_of(
        self,
        user: UserId,
        before: Option<InboxPosition>,
        count: usize,
    ) -> Result<Vec<Summary>> {
        let before = before.map(|InboxPosition { at, id }| [at.into(), id.into()]);
        let rows = self.0.page(doc! { "members": user }, ["last_at", "_id"], before, count).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The direct conversations of a user, with their latest activity; read from the index alone.
    pub async fn direct_places(self, user: UserId) -> Result<Vec<Place>> {
        let rows = self.0.only::<PlaceRow>(doc! { "last_at": 1 }).all(doc! { "members": user });
        Ok(rows.await?.into_iter().map(Into::into).collect())
    }

    /// Several conversations with their latest activity, in no order.
    pub async fn places(self, ids: &[ConversationId]) -> Result<Vec<Place>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let some = doc! { "_id": { "$in": ids.to_vec() } };
        let rows = self.0.only::<PlaceRow>(doc! { "last_at": 1 }).all(some).await?;
        Ok(rows.into_iter().map(Into::into).collect())
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
        self.0.of::<Document>().insert(summary).await
    }

    /// The number of the last message; 0 where there is none.
    pub async fn last_seq(self, conversation: ConversationId) -> Result<u64> {
        let summary = self.0.only::<LastSeq>(doc! { "last_seq": 1 });
        let summary = summary.one(doc! { "_id": conversation }).await?;
        Ok(summary.map_or(0, |summary| summary.last_seq))
    }

    /// Raises the revision, because a message changed; whether there is such a conversation.
    pub async fn revise(self, id: ConversationId) -> Result<bool> {
        self.0.update(doc! { "_id": id }, doc! { "$inc": { "revision": 1_i64 } }).await
    }

    /// Pins a message and raises the revision; whether there is such a conversation.
    pub async fn pin(self, message: MessageId) -> Result<bool> {
        let change = doc! { "$push": { "pins": int(message.seq) }, "$inc": { "revision": 1_i64 } };
        self.0.update(doc! { "_id": message.conversation }, change).await
    }

    /// Unpins a message and raises the revision; whether it was pinned.
    pub async fn unpin(self, message: MessageId) -> Result<bool> {
        let seq = int(message.seq);
        let pinned = doc! { "_id": message.conversation, "pins": seq };
        let change = doc! { "$pull": { "pins": seq }, "$inc": { "revision": 1_i64 } };
        self.0.update(pinned, change).await
    }

    /// Notes that a message was deleted and raises the revision; whether there is still such a
    /// conversation. `summary` is as this transaction sees it.
    pub async fn note_deleted(self, message: MessageId, summary: &Summary) -> Result<bool> {
        let seq = int(message.seq);
        let mut change = doc! {
            "$max": { "deleted_seq": seq }, "$pull": { "pins": seq }, "$inc": { "revision": 1_i64 },
        };
        let mut set = Document::new();
        for (name, last) in [("last.deleted", summary.last), ("other.deleted", summary.other)] {
            if last.is_some_and(|last| last.seq == message.seq) {
                set.insert(name, true);
            }
        }
        if !set.is_empty() {
            change.insert("$set", set);
        }
        self.0.update(doc! { "_id": message.conversation }, change).await
    }

    /// Closes the conversation of a group. Its messages stay where no member can reach them.
    pub async fn close(self, conversation: ConversationId) -> Result<()> {
        self.0.delete(doc! { "_id": conversation }).await.map(|_| ())
    }
}
