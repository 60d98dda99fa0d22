//! Where files are used: a row per file and message, or group whose picture it is. Written and
//! removed in the transaction of the message or group, so that who may read a file follows at once.

use std::collections::BTreeSet;

use mongodb::bson::{Binary, doc};
use mongodb::error::Error as DriverError;
use mongodb::{ClientSession, Collection};
use serde::{Deserialize, Serialize};

use super::bson::{binary, raw};
use super::store::{Store, within};
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId};
use crate::error::{Error, Result};

/// Something that shows a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    attachment: AttachmentId,
    conversation: ConversationId,
    /// The message's number; 0 for the group's picture.
    seq: u64,
}

impl Use {
    /// A message that the file is attached to.
    #[must_use]
    pub fn message(attachment: AttachmentId, message: MessageId) -> Self {
        Self { attachment, conversation: message.conversation, seq: message.seq }
    }

    /// A group whose picture the file is.
    #[must_use]
    pub fn picture(attachment: AttachmentId, group: GroupId) -> Self {
        Self { attachment, conversation: group.into(), seq: 0 }
    }

    fn key(self) -> Vec<u8> {
        let id: &[u8] = &self.attachment.bytes();
        [id, &self.conversation.bytes(), &self.seq.to_be_bytes()].concat()
    }
}

/// The collection `attachment_uses`.
#[derive(Debug, Clone)]
pub struct AttachmentUses {
    rows: Collection<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    key: Binary,
}

impl AttachmentUses {
    /// The uses of a store's files.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("attachment_uses") }
    }

    /// Notes uses that are not there yet; one given twice (the same file twice in a message)
    /// counts once.
    pub(super) async fn add(
        &self,
        session: &mut ClientSession,
        uses: impl IntoIterator<Item = Use>,
    ) -> Result<(), DriverError> {
        let uses: BTreeSet<Use> = uses.into_iter().collect();
        let rows: Vec<Row> = uses.into_iter().map(|it| Row { key: raw(it.key()) }).collect();
        if !rows.is_empty() {
            self.rows.insert_many(rows).session(session).await?;
        }
        Ok(())
    }

    /// Forgets uses; those that are not there are none.
    pub(super) async fn remove(
        &self,
        session: &mut ClientSession,
        uses: impl IntoIterator<Item = Use>,
    ) -> Result<(), DriverError> {
        let keys: Vec<_> = uses.into_iter().map(|it| binary(it.key())).collect();
        if !keys.is_empty() {
            self.rows.delete_many(doc! { "_id": { "$in": keys } }).session(session).await?;
        }
        Ok(())
    }

    /// The conversations that a file is used in, each once however often it was sent there: in the
    /// order of their ids, after `after` (`None`: from the first on), at most `limit`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn conversations_of(
        &self,
        attachment: AttachmentId,
        mut after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        let mut found = Vec::new();
        while found.len() < limit {
            // From one conversation to the next by key: the uses between are not read.
            let Some(next) = self.next(attachment, after).await? else { break };
            found.push(next);
            after = Some(next);
        }
        Ok(found)
    }

    async fn next(
        &self,
        attachment: AttachmentId,
        after: Option<ConversationId>,
    ) -> Result<Option<ConversationId>> {
        // Bounds have the length of all keys: BinData compares by length first.
        let key = |conversation: [u8; 16], seq| {
            let conversation = ConversationId::from_bytes(conversation);
            binary(Use { attachment, conversation, seq }.key())
        };
        let mut range = match after {
            None => doc! { "$gte": key([0; 16], 0) },
            Some(after) => doc! { "$gt": key(after.bytes(), u64::MAX) },
        };
        range.insert("$lte", key([0xff; 16], u64::MAX));
        let first = self.rows.find_one(doc! { "_id": range }).sort(doc! { "_id": 1 });
        let Some(row) = within(first).await? else { return Ok(None) };
        let conversation = row.key.bytes.get(16..32).and_then(|bytes| bytes.try_into().ok());
        let conversation = conversation.map(ConversationId::from_bytes);
        conversation.ok_or_else(|| Error::internal("a use of another length")).map(Some)
    }
}
