//! What a group needs of its conversation: a summary to begin with, and its end to join at.

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::repositories::sends;
use crate::repositories::store::{Collection, Store};

/// Where someone who joins now begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The last message.
    pub last_seq: u64,
    /// How many messages they sent when they were here before.
    pub own_total: u64,
}

#[derive(Debug, Deserialize)]
struct Summary {
    last_seq: u64,
}

#[derive(Debug, Deserialize)]
struct Send {
    n: u64,
}

/// The collections `conversations` and `sends`, as far as groups go.
#[derive(Debug, Clone)]
pub(super) struct Summaries {
    conversations: Collection<Document>,
    sends: Collection<Send>,
}

impl Summaries {
    pub(super) fn new(store: &Store) -> Self {
        Self { conversations: store.collection("conversations"), sends: store.collection("sends") }
    }

    /// Opens the conversation of a new group.
    pub(super) async fn open(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let summary = doc! {
            "_id": conversation,
            "kind": "group",
            "last_seq": 0_i64,
            "last_at": at,
            "revision": 0_i64,
            "created_at": at,
        };
        self.conversations.insert_one(summary).session(session).await?;
        Ok(())
    }

    /// The end of the conversation, as this transaction sees it.
    pub(super) async fn end(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<End, DriverError> {
        let summaries = self.conversations.clone_with_type::<Summary>();
        let summary = summaries.find_one(doc! { "_id": conversation }).session(&mut *session);
        let last_seq = summary.await?.map_or(0, |summary| summary.last_seq);
        let bound = |seq| sends::key(user, MessageId::new(conversation, seq));
        let sent = doc! { "_id": { "$gte": bound(0), "$lte": bound(u64::MAX) } };
        let last = self.sends.find_one(sent).sort(doc! { "_id": -1 }).session(session).await?;
        Ok(End { last_seq, own_total: last.map_or(0, |send| send.n) })
    }

    /// Closes the conversation of a group that nobody is in any more. Its messages stay where no
    /// member can reach them.
    pub(super) async fn close(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
    ) -> Result<(), DriverError> {
        self.conversations.delete_one(doc! { "_id": conversation }).session(session).await?;
        Ok(())
    }
}
