//! Where files are used: a row per file and message, or group whose picture it is. Written and
//! removed in the transaction of the message or group, so that who may read a file follows at once.
//! A profile picture is a use as well, told by the row of its uploader.

mod unused;

use std::collections::BTreeSet;

use mongodb::bson::{Binary, Document, doc};
use serde::{Deserialize, Serialize};

use super::attachments::FILES;
use super::bson::{binary, raw};
use super::store::{Collection, Store, Tx, again_if_taken, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId};
use crate::error::{Error, Result};

const USES: &str = "attachment_uses";

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

/// The collection `attachment_uses`, and what it means for the rows of `attachments`.
#[derive(Debug, Clone)]
pub struct AttachmentUses {
    store: Store,
    rows: Collection<Row>,
    files: Collection<Document>,
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
        Self { store: store.clone(), rows: store.collection(USES), files: store.collection(FILES) }
    }

    /// Notes uses that are not there yet; one given twice (the same file twice in a message)
    /// counts once. `false` if a file is not there any more: the transaction must then end.
    pub async fn add(&self, tx: &mut Tx, uses: impl IntoIterator<Item = Use>) -> Result<bool> {
        let uses: BTreeSet<Use> = uses.into_iter().collect();
        if !self.hold(tx, uses.iter().map(|it| it.attachment)).await? {
            return Ok(false);
        }
        self.insert(tx, uses).await?;
        Ok(true)
    }

    /// Notes new uses of files that are held. Where another write was first at a use, the
    /// transaction runs again.
    pub async fn insert(&self, tx: &mut Tx, uses: impl IntoIterator<Item = Use>) -> Result<()> {
        let rows = uses.into_iter().map(|it| Row { key: raw(it.key()) });
        tx.table(USES).insert_all(rows.collect()).await.map_err(again_if_taken)
    }

    /// Forgets uses; those that are not there are none. `at` is when they ended.
    pub async fn remove(
        &self,
        tx: &mut Tx,
        uses: impl IntoIterator<Item = Use>,
        at: Timestamp,
    ) -> Result<()> {
        let uses: BTreeSet<Use> = uses.into_iter().collect();
        if uses.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = uses.iter().map(|it| binary(it.key())).collect();
        if tx.table::<Row>(USES).delete_all(doc! { "_id": { "$in": keys } }).await? > 0 {
            self.let_go(tx, uses.iter().map(|it| it.attachment), at).await?;
        }
        Ok(())
    }

    /// The conversations that a file is used in, each once however often it was sent there: in the
    /// order of their ids, after `after` (`None`: from the first on), at most `limit`.
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
        let mut range = all_of(attachment);
        if let Some(conversation) = after {
            let last = Use { attachment, conversation, seq: u64::MAX };
            range.insert("$gt", binary(last.key()));
        }
        let first = self.rows.find_one(doc! { "_id": range }).sort(doc! { "_id": 1 });
        let Some(row) = within(&self.rows, first).await? else { return Ok(None) };
        let conversation = row.key.bytes.get(16..32).and_then(|bytes| bytes.try_into().ok());
        let conversation = conversation.map(ConversationId::from_bytes);
        conversation.ok_or_else(|| Error::internal("a use of another length")).map(Some)
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
