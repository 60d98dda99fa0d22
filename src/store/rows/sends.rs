//! A sender's own messages: a row each, whose key is the sender's id, the conversation's, the
//! number.

use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::NumberedMessage;
use crate::error::{Error, Result};
use crate::store::bson::raw;
use crate::store::rows::deletions::Between;
use crate::store::{Table, again_if_taken};

/// A row: sender, conversation, number; and how many of theirs it makes there.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct SendRow {
    #[serde(rename = "_id")]
    key: Binary,
    n: u64,
}

impl From<&NumberedMessage> for SendRow {
    fn from(NumberedMessage { message, nth, .. }: &NumberedMessage) -> Self {
        Self { key: key(message.sender, message.id), n: *nth }
    }
}

/// A row, as far as its key goes.
#[derive(Debug, Deserialize)]
struct SendKey {
    #[serde(rename = "_id")]
    key: Binary,
}

/// The key of a message among its sender's own. Of a range, both bounds are made by this:
/// `BinData` compares by length first.
fn key(sender: UserId, message: MessageId) -> Binary {
    raw([sender.bytes().as_slice(), &message.bytes()].concat())
}

/// The message that a key is of.
fn message_of(key: &Binary) -> Result<MessageId> {
    let message = key.bytes.get(16..).and_then(|bytes| bytes.try_into().ok());
    let message = message.map(MessageId::from_bytes);
    message.ok_or_else(|| Error::internal("a send of another length"))
}

#[derive(Debug, Deserialize)]
struct Total {
    n: u64,
}

/// The collection `sends`, for one command.
pub struct Sends<'a>(Table<'a, SendRow>);

impl<'a> Sends<'a> {
    pub(super) fn new(table: Table<'a, SendRow>) -> Self {
        Self(table)
    }

    /// How many messages someone has sent to a conversation.
    pub async fn total(self, user: UserId, conversation: ConversationId) -> Result<u64> {
        self.count_up_to(user, MessageId::new(conversation, u64::MAX)).await
    }

    /// How many messages someone has sent to a conversation, up to and including `last`.
    pub async fn count_up_to(self, user: UserId, last: MessageId) -> Result<u64> {
        let first = MessageId::new(last.conversation, 0);
        let sent = doc! { "_id": { "$gte": key(user, first), "$lte": key(user, last) } };
        let last = self.0.sorted(doc! { "_id": -1 }).only::<Total>(doc! { "n": 1 });
        Ok(last.one(sent).await?.map_or(0, |send| send.n))
    }

    /// Up to `count` messages that someone has sent, conversation by conversation, from the one
    /// after `after` on: a range of the clustered keys.
    pub async fn sent(
        self,
        user: UserId,
        after: Option<MessageId>,
        count: usize,
    ) -> Result<Vec<MessageId>> {
        let end = |byte| key(user, MessageId::from_bytes([byte; 24]));
        let mut own = doc! { "$lte": end(0xff) };
        match after {
            Some(after) => own.insert("$gt", key(user, after)),
            None => own.insert("$gte", end(0)),
        };
        let keys = self.0.only::<SendKey>(doc! { "_id": 1 }).sorted(doc! { "_id": 1 });
        let keys = keys.first(count).all(doc! { "_id": own }).await?;
        keys.iter().map(|row| message_of(&row.key)).collect()
    }

    /// Up to `count` messages that someone has sent to a conversation, with numbers between these,
    /// the newest first.
    pub async fn between(
        self,
        user: UserId,
        between: Between,
        count: usize,
    ) -> Result<Vec<MessageId>> {
        let bound = |seq| key(user, MessageId::new(between.conversation, seq));
        let own = doc! { "$gt": bound(between.after), "$lt": bound(between.before) };
        let keys = self.0.only::<SendKey>(doc! { "_id": 1 }).sorted(doc! { "_id": -1 });
        let keys = keys.first(count).all(doc! { "_id": own }).await?;
        keys.iter().map(|row| message_of(&row.key)).collect()
    }

    /// Notes new messages. Where another write was first at a number, the transaction runs again.
    pub async fn add(self, messages: &[NumberedMessage]) -> Result<()> {
        let rows = messages.iter().map(SendRow::from).collect();
        self.0.insert_all(rows).await.map_err(again_if_taken)
    }
}
