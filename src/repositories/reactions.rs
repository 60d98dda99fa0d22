//! Reactions: a row for each member, message and emoji; how many there are is in the message.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::Hint;
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, optional_id};
use super::store::{Collection, Store, Tx, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::emoji::{Emoji, fold};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};

/// A row of `reactions`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
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

/// The collection `reactions`.
#[derive(Debug, Clone)]
pub struct Reactions {
    rows: Collection<Row>,
}

/// A reaction of someone: to which message, with what.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub key: Binary,
    pub message: MessageId,
    pub emoji: String,
}

impl Reactions {
    /// The reactions of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("reactions") }
    }

    /// How a reader reacted to some messages, by one range for each conversation they are of.
    pub async fn of(&self, reader: UserId, messages: &[MessageId]) -> Result<Reacted> {
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
        let rows = all(&self.rows, self.rows.find(doc! { "$or": ranges })).await?;
        rows.iter().map(|row| Ok((message_of(&row.key)?, fold(&row.emoji)))).collect()
    }

    /// How some users reacted to one message, by one range for each of them; those who did.
    pub async fn by(
        &self,
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
        for row in all(&self.rows, self.rows.find(doc! { "$or": ranges })).await? {
            let user = user_of(&row.key)?;
            by.entry(user).or_default().insert((message, fold(&row.emoji)));
        }
        Ok(by)
    }

    /// Notes a reaction; `false` if it was there.
    pub(super) async fn add(
        &self,
        tx: &mut Tx,
        (user, message): (UserId, MessageId),
        emoji: &Emoji,
        at: Timestamp,
    ) -> Result<bool, DriverError> {
        let key = key(user, message, emoji);
        let there = self.rows.find_one(doc! { "_id": key.clone() }).session(tx.session()).await?;
        if there.is_some() {
            return Ok(false);
        }
        let row = doc! { "$setOnInsert": { "user_id": user, "emoji": emoji.as_str(), "at": at } };
        self.rows.update_one(doc! { "_id": key }, row).upsert(true).session(tx.session()).await?;
        Ok(true)
    }

    /// Forgets a reaction; `false` if there was none.
    pub(super) async fn remove(
        &self,
        tx: &mut Tx,
        (user, message): (UserId, MessageId),
        emoji: &Emoji,
    ) -> Result<bool, DriverError> {
        let row = doc! { "_id": key(user, message, emoji) };
        Ok(self.rows.delete_one(row).session(tx.session()).await?.deleted_count == 1)
    }

    /// Up to `count` reactions of a user, those in one conversation together.
    pub(super) async fn some_of(&self, user: UserId, count: i64) -> Result<Vec<Own>> {
        let rows = self.rows.find(doc! { "user_id": user }).sort(doc! { "_id": 1 });
        let rows = all(&self.rows, rows.limit(count)).await?;
        let own =
            |row: Row| Ok(Own { message: message_of(&row.key)?, key: row.key, emoji: row.emoji });
        rows.into_iter().map(own).collect()
    }

    /// Forgets one of them; `false` if it is gone already.
    pub(super) async fn forget(&self, tx: &mut Tx, own: &Own) -> Result<bool, DriverError> {
        let row = doc! { "_id": &own.key };
        Ok(self.rows.delete_one(row).session(tx.session()).await?.deleted_count == 1)
    }

    /// The keys of up to `count` reactions of which an earlier natter has not stored whose they are.
    pub(super) async fn unnamed(&self, count: i64) -> Result<Vec<Binary>> {
        let unnamed = self.rows.find(doc! { "user_id": null }).hint(Hint::Name("user_id".into()));
        Ok(all(&self.rows, unnamed.limit(count)).await?.into_iter().map(|row| row.key).collect())
    }

    /// Notes whose some reactions are.
    pub(super) async fn name(&self, store: &Store, keys: &[Binary]) -> Result<()> {
        let name = |key: &Binary| {
            let set = doc! { "$set": { "user_id": user_of(key)? } };
            Ok(doc! { "q": { "_id": key }, "u": set })
        };
        let updates = keys.iter().map(name).collect::<Result<Vec<Document>>>()?;
        let command = doc! {
            "update": self.rows.name(), "updates": updates, "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        within(store, store.database().run_command(command)).await.map(|_| ())
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
pub(super) fn user_of(key: &Binary) -> Result<UserId> {
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
