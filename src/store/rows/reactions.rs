//! Reactions: a row for each member, message and emoji; how many there are is in the message.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::emoji::{Emoji, fold};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};
use crate::store::bson::{binary, date, optional_id};
use crate::store::{RowUpdate, Table};

/// A row of `reactions`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id")]
    key: Binary,
    /// Whose it is, for when their account goes; rows of an earlier natter get it later.
    #[serde(with = "optional_id", default)]
    user_id: Option<UserId>,
    emoji: String,
    #[serde(with = "date")]
    at: Timestamp,
}

/// Which messages a reader reacted to, and how: the emoji [folded](fold).
pub type Reacted = HashSet<(MessageId, String)>;

/// The collection `reactions`, for one command.
pub struct Reactions<'a>(Table<'a, Row>);

/// A reaction of someone: to which message, with what.
#[derive(Debug, Clone)]
pub struct Own {
    key: Binary,
    /// The message.
    pub message: MessageId,
    /// The emoji, as it was given.
    pub emoji: String,
}

/// A reaction whose row does not say whose it is.
#[derive(Debug, Clone)]
pub struct Unnamed {
    key: Binary,
    /// The member, as the key says.
    pub user: UserId,
}

impl<'a> Reactions<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// How a reader reacted to some messages, by one range for each conversation they are of.
    pub async fn of(self, reader: UserId, messages: &[MessageId]) -> Result<Reacted> {
        let mut ranges: BTreeMap<ConversationId, (u64, u64)> = BTreeMap::new();
        for message in messages {
            let (first, last) =
                ranges.entry(message.conversation).or_insert((message.seq, message.seq));
            (*first, *last) = ((*first).min(message.seq), (*last).max(message.seq));
        }
        if ranges.is_empty() {
            return Ok(Reacted::new());
        }
        let ranges: Vec<Document> = ranges
            .into_iter()
            .map(|(conversation, (first, last))| {
                let bound =
                    |seq, end| binary(bytes(reader, MessageId::new(conversation, seq), end));
                doc! { "_id": { "$gte": bound(first, [0; 8]), "$lte": bound(last, [0xff; 8]) } }
            })
            .collect();
        let rows = self.0.all(doc! { "$or": ranges }).await?;
        rows.iter().map(|row| Ok((message_of(&row.key)?, fold(&row.emoji)))).collect()
    }

    /// How some users reacted to one message, by one range for each of them; those who did.
    pub async fn by(
        self,
        users: &[UserId],
        message: MessageId,
    ) -> Result<HashMap<UserId, Reacted>> {
        let range = |user: &UserId| {
            let bound = |end| binary(bytes(*user, message, end));
            doc! { "_id": { "$gte": bound([0; 8]), "$lte": bound([0xff; 8]) } }
        };
        let ranges: Vec<Document> = users.iter().map(range).collect();
        if ranges.is_empty() {
            return Ok(HashMap::new());
        }
        let mut by: HashMap<UserId, Reacted> = HashMap::new();
        for row in self.0.all(doc! { "$or": ranges }).await? {
            let user = user_of(&row.key)?;
            by.entry(user).or_default().insert((message, fold(&row.emoji)));
        }
        Ok(by)
    }

    /// Whether a user has reacted with an emoji.
    pub async fn has(self, user: UserId, message: MessageId, emoji: &Emoji) -> Result<bool> {
        let row = doc! { "_id": key(user, message, emoji) };
        Ok(self.0.only::<Document>(doc! { "_id": 1 }).one(row).await?.is_some())
    }

    /// Notes a reaction; one that is there stays.
    pub async fn add(
        self,
        user: UserId,
        message: MessageId,
        emoji: &Emoji,
        at: Timestamp,
    ) -> Result<()> {
        let row = doc! { "$setOnInsert": { "user_id": user, "emoji": emoji.as_str(), "at": at } };
        let key = doc! { "_id": key(user, message, emoji) };
        self.0.upsert(key, row).await.map(|_| ())
    }

    /// Removes a reaction; whether there was one.
    pub async fn remove(self, user: UserId, message: MessageId, emoji: &Emoji) -> Result<bool> {
        self.0.delete(doc! { "_id": key(user, message, emoji) }).await
    }

    /// Up to `count` reactions of a user, those in one conversation together.
    pub async fn some_of(self, user: UserId, count: usize) -> Result<Vec<Own>> {
        let rows = self.0.sorted(doc! { "_id": 1 }).first(count);
        let rows = rows.all(doc! { "user_id": user }).await?;
        let own =
            |row: Row| Ok(Own { message: message_of(&row.key)?, key: row.key, emoji: row.emoji });
        rows.into_iter().map(own).collect()
    }

    /// Removes one of them; whether it was still there.
    pub async fn remove_own(self, own: &Own) -> Result<bool> {
        self.0.delete(doc! { "_id": &own.key }).await
    }

    /// Up to `count` reactions of which an earlier natter has not stored whose they are.
    pub async fn unnamed(self, count: usize) -> Result<Vec<Unnamed>> {
        let rows = self.0.by("user_id").first(count).all(doc! { "user_id": null }).await?;
        let unnamed = |row: Row| Ok(Unnamed { user: user_of(&row.key)?, key: row.key });
        rows.into_iter().map(unnamed).collect()
    }

    /// Notes whose some reactions are.
    pub async fn name(self, unnamed: &[Unnamed]) -> Result<()> {
        let name = |it: &Unnamed| {
            RowUpdate::of(doc! { "_id": &it.key }, doc! { "$set": { "user_id": it.user } })
        };
        self.0.update_each(unnamed.iter().map(name).collect()).await
    }
}

fn bytes(user: UserId, message: MessageId, end: [u8; 8]) -> Vec<u8> {
    let conversation: &[u8] = &message.conversation.bytes();
    [conversation, &user.bytes(), &message.seq.to_be_bytes(), &end].concat()
}

fn key(user: UserId, message: MessageId, emoji: &Emoji) -> Bson {
    let digest = digest(&SHA256, emoji.folded().as_bytes());
    let mut end = [0; 8];
    end.copy_from_slice(&digest.as_ref()[..8]);
    binary(bytes(user, message, end))
}

/// Whose the reaction with this key is.
fn user_of(key: &Binary) -> Result<UserId> {
    let user = key.bytes.get(16..32).and_then(|bytes| bytes.try_into().ok());
    user.map(UserId::from_bytes).ok_or_else(|| Error::internal("a reaction of another length"))
}

fn message_of(key: &Binary) -> Result<MessageId> {
    let part = |from: usize, to: usize| key.bytes.get(from..to);
    let conversation = part(0, 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let seq = part(32, 40).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    match (conversation, seq) {
        (Some(conversation), Some(seq)) => {
            let conversation = ConversationId::from_bytes(conversation);
            Ok(MessageId::new(conversation, u64::from_be_bytes(seq)))
        }
        _ => Err(Error::internal("a reaction of another length")),
    }
}
