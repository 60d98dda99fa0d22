//! The keys of `sends`, a sender's own messages: the sender's id, the conversation's, the number.

use mongodb::bson::Binary;
use serde::Deserialize;

use super::bson::raw;
use crate::domain::ids::{MessageId, UserId};
use crate::error::{Error, Result};

/// A row, as far as its key goes.
#[derive(Debug, Deserialize)]
pub(super) struct SendKey {
    #[serde(rename = "_id")]
    pub key: Binary,
}

/// The key of a message among its sender's own. Of a range, both bounds are made by this:
/// `BinData` compares by length first.
pub(super) fn key(sender: UserId, message: MessageId) -> Binary {
    raw([sender.bytes().as_slice(), &message.bytes()].concat())
}

/// The message that a key is of.
pub(super) fn message_of(key: &Binary) -> Result<MessageId> {
    let message = key.bytes.get(16..).and_then(|bytes| bytes.try_into().ok());
    let message = message.map(MessageId::from_bytes);
    message.ok_or_else(|| Error::internal("a send of another length"))
}
