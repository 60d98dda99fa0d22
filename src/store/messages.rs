//! Message shards: clustered collections whose key is conversation, then number, so that storage
//! order is conversation order and a page of history is one range of the B-tree.

use std::collections::BTreeMap;

use mongodb::bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, id, int, optional_date, raw, serialized};
use super::embedded::EmbeddedAttachment;
use super::rows::conversations::Member;
use super::{Collection, Store, Table, Tx, again_if_taken, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{NumberedMessage, ReactionCount, StoredMessage};
use crate::error::Result;

/// A row of a message shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MessageRow {
    #[serde(rename = "_id", with = "id")]
    id: MessageId,
    /// The draft's token.
    token: Binary,
    #[serde(with = "id")]
    sender: UserId,
    /// Its number among its sender's messages in this conversation.
    nth: u64,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<EmbeddedAttachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<Member>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionCount>,
    #[serde(with = "date")]
    at: Timestamp,
    #[serde(with = "optional_date", default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(with = "optional_date", default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl From<&NumberedMessage> for MessageRow {
    fn from(NumberedMessage { message, nth, token }: &NumberedMessage) -> Self {
        Self {
            id: message.id,
            token: raw(*token),
            sender: message.sender,
            nth: *nth,
            text: message.text.clone(),
            attachments: message.attachments.iter().map(Into::into).collect(),
            reply_to: message.reply_to,
            client_message_id: message.client_message_id.clone(),
            mentions: message.mentions.iter().copied().map(Member).collect(),
            reactions: message.reactions.clone(),
            at: message.at,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
        }
    }
}

impl From<MessageRow> for StoredMessage {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            sender: row.sender,
            text: row.text,
            attachments: row.attachments.into_iter().map(Into::into).collect(),
            reply_to: row.reply_to,
            mentions: row.mentions.into_iter().map(|member| member.0).collect(),
            reactions: row.reactions,
            client_message_id: row.client_message_id,
            at: row.at,
            edited_at: row.edited_at,
            deleted_at: row.deleted_at,
        }
    }
}

/// Which shard a conversation's messages are in: a pure function, the same on every instance and
/// for good, over the conversation's random bytes.
#[must_use]
pub fn shard_of(conversation: ConversationId, shards: usize) -> usize {
    let [a, b, c, d, ..] = conversation.bytes();
    u32::from_be_bytes([a, b, c, d]) as usize % shards
}

/// A bound of a range of keys: always 24 bytes of subtype 0, because `BinData` compares by length
/// first and a shorter bound would let other conversations in.
fn bound(conversation: ConversationId, seq: u64) -> Bson {
    binary(MessageId::new(conversation, seq).bytes())
}

/// Keys of a conversation from `first` to `last`, both included.
pub(super) fn range(conversation: ConversationId, first: u64, last: u64) -> Document {
    doc! { "_id": { "$gte": bound(conversation, first), "$lte": bound(conversation, last) } }
}

/// The collections `messages_0` to `messages_{N-1}`.
#[derive(Debug, Clone)]
pub struct Messages {
    shards: Vec<Collection<MessageRow>>,
}

impl Messages {
    /// The message shards of a store.
    #[must_use]
    pub fn new(store: &Store, shards: usize) -> Self {
        let shard = |n| store.collection(&format!("messages_{n}"));
        Self { shards: (0..shards).map(shard).collect() }
    }

    /// The same shards over the connections of another store.
    #[must_use]
    pub fn over(&self, store: &Store) -> Self {
        Self::new(store, self.shards.len())
    }

    pub(super) fn shard(&self, conversation: ConversationId) -> &Collection<MessageRow> {
        &self.shards[self.index(conversation)]
    }

    /// Which of [`all`](Self::all) a conversation is in.
    pub(super) fn index(&self, conversation: ConversationId) -> usize {
        shard_of(conversation, self.shards.len())
    }

    /// Every shard.
    pub(super) fn all(&self) -> &[Collection<MessageRow>] {
        &self.shards
    }

    /// One message.
    pub async fn find(&self, id: MessageId) -> Result<Option<StoredMessage>> {
        let shard = self.shard(id.conversation);
        Ok(within(shard, shard.find_one(doc! { "_id": id })).await?.map(Into::into))
    }

    /// Several messages, those that exist, in no order. One command that looks each up by its
    /// key, in whichever shard: an `$in` would read the whole shard, and a command each costs the
    /// server nearly three times as much.
    pub async fn many(&self, ids: &[MessageId]) -> Result<Vec<StoredMessage>> {
        let Some((first, others)) = ids.split_first() else { return Ok(Vec::new()) };
        let is = |id: &MessageId| doc! { "$match": { "_id": *id } };
        let mut stages = vec![is(first)];
        stages.extend(others.iter().map(|id| {
            let shard = self.shard(id.conversation).name();
            doc! { "$unionWith": { "coll": shard, "pipeline": [is(id)] } }
        }));
        let shard = self.shard(first.conversation);
        let find = shard.aggregate(stages).with_type::<MessageRow>();
        Ok(all(shard, find).await?.into_iter().map(Into::into).collect())
    }

    /// Up to `limit` messages with numbers from `first` to `last`, the newest of them, newest
    /// first.
    pub async fn newest(
        &self,
        conversation: ConversationId,
        (first, last): (u64, u64),
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        self.scan(conversation, (first, last), limit, -1).await
    }

    /// Up to `limit` messages with numbers from `first` to `last`, the oldest of them, newest
    /// first.
    pub async fn oldest(
        &self,
        conversation: ConversationId,
        (first, last): (u64, u64),
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let mut messages = self.scan(conversation, (first, last), limit, 1).await?;
        messages.reverse();
        Ok(messages)
    }

    /// The last message that stands of anyone but these, with a number from `first` to `last`.
    /// Reads what they wrote and what was deleted after it, and it.
    pub async fn last_standing(
        &self,
        conversation: ConversationId,
        (first, last): (u64, u64),
        without: &[UserId],
    ) -> Result<Option<StoredMessage>> {
        let mut wanted = range(conversation, first, last);
        wanted.insert("sender", doc! { "$nin": without.to_vec() });
        wanted.insert("deleted_at", doc! { "$exists": false });
        let shard = self.shard(conversation);
        let row = shard.find_one(wanted).sort(doc! { "_id": -1 });
        Ok(within(shard, row).await?.map(Into::into))
    }

    /// Whether a message is stored, and was written from the draft with this token.
    pub async fn has(&self, id: MessageId, token: [u8; 16]) -> Result<bool> {
        let shard = self.shard(id.conversation);
        let ours = doc! { "_id": id, "token": raw(token) };
        Ok(within(shard, shard.find_one(ours)).await?.is_some())
    }

    /// Stores new messages, by one command for each shard. Where another write was first at a
    /// number, the transaction runs again.
    pub async fn insert(&self, tx: &mut Tx, messages: &[NumberedMessage]) -> Result<()> {
        let mut shards: BTreeMap<usize, Vec<MessageRow>> = BTreeMap::new();
        for message in messages {
            let shard = self.index(message.message.id.conversation);
            shards.entry(shard).or_default().push(message.into());
        }
        for (shard, rows) in shards {
            let shard = tx.table(self.shards[shard].name());
            shard.insert_all(rows).await.map_err(again_if_taken)?;
        }
        Ok(())
    }

    /// One message, as a transaction sees it.
    pub async fn find_in(&self, tx: &mut Tx, id: MessageId) -> Result<Option<StoredMessage>> {
        Ok(self.table(tx, id).one(doc! { "_id": id }).await?.map(Into::into))
    }

    /// Gives a message another text, with those whom it mentions; the message after it.
    pub async fn edit(
        &self,
        tx: &mut Tx,
        id: MessageId,
        text: &str,
        mentions: &[UserId],
        at: Timestamp,
    ) -> Result<Option<StoredMessage>> {
        self.set(tx, id, doc! { "text": text, "mentions": mentions.to_vec(), "edited_at": at })
            .await
    }

    /// Removes everything that a message says; the message after it.
    pub async fn empty(
        &self,
        tx: &mut Tx,
        id: MessageId,
        at: Timestamp,
    ) -> Result<Option<StoredMessage>> {
        let empty = doc! {
            "text": "", "attachments": [], "mentions": [], "reactions": [], "deleted_at": at,
        };
        self.set(tx, id, empty).await
    }

    /// Notes how many members reacted to a message with each emoji; the message after it.
    pub async fn count_reactions(
        &self,
        tx: &mut Tx,
        id: MessageId,
        counts: &[ReactionCount],
    ) -> Result<Option<StoredMessage>> {
        self.set(tx, id, doc! { "reactions": serialized(&counts) }).await
    }

    async fn set(
        &self,
        tx: &mut Tx,
        id: MessageId,
        set: Document,
    ) -> Result<Option<StoredMessage>> {
        let change = doc! { "$set": set };
        Ok(self.table(tx, id).change(doc! { "_id": id }, change).await?.map(Into::into))
    }

    fn table<'t>(&self, tx: &'t mut Tx, id: MessageId) -> Table<'t, MessageRow> {
        tx.table(self.shard(id.conversation).name())
    }

    async fn scan(
        &self,
        conversation: ConversationId,
        (first, last): (u64, u64),
        limit: usize,
        direction: i32,
    ) -> Result<Vec<StoredMessage>> {
        if first > last || limit == 0 {
            return Ok(Vec::new());
        }
        let shard = self.shard(conversation);
        let find = shard
            .find(range(conversation, first, last))
            .sort(doc! { "_id": direction })
            .limit(int(limit));
        let rows: Vec<MessageRow> = all(shard, find).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_conversation_has_one_shard(bytes: [u8; 16], shards in 1_usize..=64) {
            let conversation = ConversationId::from_bytes(bytes);
            prop_assert!(shard_of(conversation, shards) < shards);
            prop_assert_eq!(shard_of(conversation, shards), shard_of(conversation, shards));
        }
    }

    #[test]
    fn placement_is_fixed_for_good() {
        let conversation = ConversationId::from_bytes([7; 16]);
        assert_eq!([1, 4, 64].map(|shards| shard_of(conversation, shards)), [0, 3, 7]);
    }

    #[test]
    fn shards_fill_evenly() {
        let mut counts = [0_u32; 4];
        for _ in 0..4000 {
            let (one, other) = (UserId::random(), UserId::random());
            counts[shard_of(ConversationId::direct(one, other), 4)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
