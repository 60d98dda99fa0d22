//! Conversation summaries: what the inbox shows and the writer counts on, one row each.

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error as DriverError;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::conversations::{InboxPosition, Kind, LastMessage, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::search::Place;
use crate::error::Result;
use crate::failpoint;
use crate::store::bson::{date, id, int};
use crate::store::{RowUpdate, Table};

/// The last message of a sender that a summary remembers.
#[derive(Debug, Deserialize)]
struct LastRow {
    seq: u64,
    #[serde(with = "id")]
    sender: UserId,
    #[serde(with = "date")]
    at: Timestamp,
    /// Whether it was deleted.
    #[serde(default)]
    deleted: bool,
}

/// A row of `conversations`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct ConversationRow {
    #[serde(rename = "_id", with = "id")]
    id: ConversationId,
    kind: Kind,
    /// Of a direct conversation, its two users; one, where someone writes to themselves.
    #[serde(default)]
    members: Vec<Member>,
    last_seq: u64,
    #[serde(with = "date")]
    last_at: Timestamp,
    /// Counts every change to a message that is there already.
    revision: u64,
    /// The greatest number of a deleted message.
    #[serde(default)]
    deleted_seq: u64,
    /// The numbers of pinned messages.
    #[serde(default)]
    pins: Vec<u64>,
    /// The last message.
    #[serde(default)]
    last: Option<LastRow>,
    /// The last message of anyone but its sender.
    #[serde(default)]
    other: Option<LastRow>,
    #[serde(with = "date")]
    created_at: Timestamp,
}

/// A user's id inside a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::store) struct Member(#[serde(with = "id")] pub UserId);

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
            created_at: row.created_at,
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

    /// Notes the last messages of conversations that have new ones, in one command. The first
    /// message of a direct conversation makes its row.
    pub async fn note_sent(self, summaries: impl Iterator<Item = &Summary>) -> Result<()> {
        let updates = summaries.map(|summary| {
            let row = doc! { "_id": summary.id };
            let mut change = doc! { "$set": newest(summary) };
            match summary.kind {
                Kind::Group => RowUpdate::of(row, change),
                Kind::Direct => {
                    change.insert("$setOnInsert", begun(summary));
                    RowUpdate::of(row, change).or_insert()
                }
            }
        });
        self.0.update_each(updates.collect()).await?;
        failpoint::lose("apply.conversations").map_err(DriverError::from)?;
        Ok(())
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

/// A row as the service would have left it after these messages.
pub(in crate::store) fn row(summary: &Summary) -> Document {
    let mut row = doc! { "_id": summary.id };
    row.extend(begun(summary));
    row.extend(newest(summary));
    if summary.last_seq == 0 {
        row.remove("last");
        row.remove("other");
    }
    row
}

/// The fields of a conversation that its messages do not change.
fn begun(summary: &Summary) -> Document {
    let mut fields = doc! { "kind": "group" };
    if summary.kind == Kind::Direct {
        fields = doc! { "kind": "direct", "members": &summary.members };
    }
    fields.extend(doc! { "revision": 0_i64, "created_at": summary.created_at });
    fields
}

/// The fields that a new message changes.
fn newest(summary: &Summary) -> Document {
    doc! {
        "last_seq": int(summary.last_seq), "last_at": summary.last_at,
        "last": last(summary.last), "other": last(summary.other),
    }
}

fn last(message: Option<LastMessage>) -> Bson {
    message.map_or(Bson::Null, |LastMessage { seq, sender, at, deleted }| {
        Bson::Document(doc! { "seq": int(seq), "sender": sender, "at": at, "deleted": deleted })
    })
}
