//! Uses of files: a row per file and message, or group whose picture it is. The transaction of the
//! message or group writes and removes it, so that the permission to read the file changes with it.
//! A profile picture is a use as well; only the row of its uploader says so.

use std::collections::BTreeSet;

use mongodb::bson::{Binary, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId};
use crate::error::{Error, Result};
use crate::store::bson::{binary, raw};
use crate::store::{Table, again_if_taken};

/// Something that shows a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The file.
    pub attachment: AttachmentId,
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

/// A row of `attachment_uses`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id")]
    key: Binary,
}

/// The collection `attachment_uses`, for one command.
pub struct AttachmentUses<'a>(Table<'a, Row>);

impl<'a> AttachmentUses<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Notes new uses of files that are held. Where another write was first at a use, the
    /// transaction runs again.
    pub async fn insert(self, uses: impl IntoIterator<Item = Use>) -> Result<()> {
        let rows = uses.into_iter().map(|it| Row { key: raw(it.key()) });
        self.0.insert_all(rows.collect()).await.map_err(again_if_taken)
    }

    /// Forgets uses; how many of them were there.
    pub async fn delete(self, uses: &BTreeSet<Use>) -> Result<u64> {
        if uses.is_empty() {
            return Ok(0);
        }
        let keys: Vec<_> = uses.iter().map(|it| binary(it.key())).collect();
        self.0.delete_all(doc! { "_id": { "$in": keys } }).await
    }

    /// Whether a message or a group uses a file.
    pub async fn any_of(self, attachment: AttachmentId) -> Result<bool> {
        Ok(self.0.one(doc! { "_id": all_of(attachment) }).await?.is_some())
    }

    /// The first conversation after `after` that a file is used in, in the order of their ids
    /// (`None`: the first of all). However many uses are in one conversation, one row is read.
    pub async fn next_conversation(
        self,
        attachment: AttachmentId,
        after: Option<ConversationId>,
    ) -> Result<Option<ConversationId>> {
        let mut range = all_of(attachment);
        if let Some(conversation) = after {
            let last = Use { attachment, conversation, seq: u64::MAX };
            range.insert("$gt", binary(last.key()));
        }
        let first = self.0.sorted(doc! { "_id": 1 }).one(doc! { "_id": range }).await?;
        first.map(|row| conversation_of(&row.key)).transpose()
    }
}

/// The range of keys of all uses of a file; its bounds have the length of all keys, because
/// BinData compares by length first.
fn all_of(attachment: AttachmentId) -> Document {
    let key = |conversation: [u8; 16], seq| {
        let conversation = ConversationId::from_bytes(conversation);
        binary(Use { attachment, conversation, seq }.key())
    };
    doc! { "$gte": key([0; 16], 0), "$lte": key([0xff; 16], u64::MAX) }
}

fn conversation_of(key: &Binary) -> Result<ConversationId> {
    let conversation = key.bytes.get(16..32).and_then(|bytes| bytes.try_into().ok());
    let conversation = conversation.map(ConversationId::from_bytes);
    conversation.ok_or_else(|| Error::internal("a use of another length"))
}
