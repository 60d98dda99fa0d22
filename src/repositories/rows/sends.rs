//! A sender's own messages: a row each, whose key is the sender's id, the conversation's, the
//! number.

use mongodb::bson::{Binary, Document, doc};
use serde::Deserialize;

use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};
use crate::repositories::bson::raw;
use crate::repositories::store::Table;

/// A row, as far as its key goes.
#[derive(Debug, Deserialize)]
pub(in crate::repositories) struct SendKey {
    #[serde(rename = "_id")]
    pub key: Binary,
}

/// The key of a message among its sender's own. Of a range, both bounds are made by this:
/// `BinData` compares by length first.
pub(in crate::repositories) fn key(sender: UserId, message: MessageId) -> Binary {
    raw([sender.bytes().as_slice(), &message.bytes()].concat())
}

/// The message that a key is of.
pub(in crate::repositories) fn message_of(key: &Binary) -> Result<MessageId> {
    let message = key.bytes.get(16..).and_then(|bytes| bytes.try_into().ok());
    let message = message.map(MessageId::from_bytes);
    message.ok_or_else(|| Error::internal("a send of another length"))
}

#[derive(Debug, Deserialize)]
struct Total {
    n: u64,
}

/// The collection `sends`, for one command.
pub struct Sends<'a>(Table<'a, Document>);

impl<'a> Sends<'a> {
    pub(super) fn new(table: Table<'a, Document>) -> Self {
        Self(table)
    }

    /// How many messages someone has sent to a conversation.
    pub async fn total(self, user: UserId, conversation: ConversationId) -> Result<u64> {
        let bound = |seq| key(user, MessageId::new(conversation, seq));
        let sent = doc! { "_id": { "$gte": bound(0), "$lte": bound(u64::MAX) } };
        let last = self.0.sorted(doc! { "_id": -1 }).only::<Total>(doc! { "n": 1 });
        Ok(last.one(sent).await?.map_or(0, |send| send.n))
    }
}
