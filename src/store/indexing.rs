//! Filling `message_words`: which instance does it, what waits, and one transaction a batch.
//!
//! The lease (`indexing/lease.rs`) is a row of `meta`. Every holder has a higher fence than those before, and each batch
//! is written in a transaction that changes the row under its own fence: whoever was overtaken
//! while it worked writes nothing, so that no older words replace newer ones.

mod lease;

use std::collections::{BTreeSet, HashMap};

use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use self::lease::LeaseRow;
pub use self::lease::{Again, Lease};
use super::bson::{date, id, int};
use super::messages::{Messages, range};
pub use super::rows::unindexed::Marker;
use super::{Collection, META, RowUpdate, Store, all};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::error::Result;

pub(super) const WORDS: &str = "message_words";

/// Messages of a conversation with no more than this many others between them are read in one go.
const GAP: u64 = 8;

/// What of a message is to be indexed.
#[derive(Debug, Deserialize)]
pub struct Text {
    /// Which one.
    #[serde(rename = "_id", with = "id")]
    pub message: MessageId,
    /// What it says; empty once it is deleted.
    pub text: String,
    /// When it was sent.
    #[serde(with = "date")]
    pub at: Timestamp,
}

/// Words by which a message is found from now on.
#[derive(Debug, Clone)]
pub struct Indexed {
    /// The message.
    pub message: MessageId,
    /// When it was sent.
    pub at: Timestamp,
    /// Hashes of its words.
    pub words: BTreeSet<i64>,
}

/// What one transaction writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Messages that are found.
    pub found: Vec<Indexed>,
    /// Messages that are not found any more.
    pub gone: Vec<MessageId>,
    /// What is done with that, in order.
    pub markers: Vec<Marker>,
    /// How far messages are indexed again with that, where they are.
    pub again: Option<Again>,
}

/// Fills the index of words.
#[derive(Debug, Clone)]
pub struct Indexing {
    store: Store,
    leases: Collection<LeaseRow>,
    messages: Messages,
    words: Collection<Document>,
}

impl Indexing {
    /// The index of a store over these messages.
    #[must_use]
    pub fn new(store: &Store, messages: Messages) -> Self {
        Self {
            store: store.clone(),
            leases: store.collection(META),
            messages,
            words: store.collection(WORDS),
        }
    }

    /// Up to `count` changes from a moment on that wait to be indexed, the oldest first.
    pub async fn waiting(&self, from: Timestamp, count: usize) -> Result<Vec<Marker>> {
        self.store.unindexed().from(from, count).await
    }

    /// What these messages say now; missing are those that are not there.
    pub async fn texts(&self, messages: Vec<MessageId>) -> Result<HashMap<MessageId, Text>> {
        let shard = |id: &MessageId| self.messages.shard(id.conversation);
        let runs = runs(messages);
        let Some((first, _)) = runs.first() else { return Ok(HashMap::new()) };
        let mut stages = runs.iter().map(|(first, last)| {
            let read = doc! { "$match": range(first.conversation, first.seq, *last) };
            (shard(first).name(), vec![read, doc! { "$project": { "text": 1, "at": 1 } }])
        });
        let mut pipeline = stages.next().map_or_else(Vec::new, |(_, stages)| stages);
        pipeline.extend(stages.map(|(shard, stages)| {
            doc! { "$unionWith": { "coll": shard, "pipeline": stages } }
        }));
        let first = shard(first);
        let texts = all(first, first.aggregate(pipeline).with_type::<Text>()).await?;
        Ok(texts.into_iter().map(|text| (text.message, text)).collect())
    }

    /// Up to `count` messages from a place on, in the order of their keys, and the next place.
    pub async fn from(&self, place: Again, count: usize) -> Result<(Vec<Text>, Again)> {
        let next_shard = Again { shard: place.shard + 1, after: None };
        let Some(shard) = self.messages.all().get(place.shard) else {
            return Ok((Vec::new(), next_shard));
        };
        let after = place.after.unwrap_or(MessageId::from_bytes([0; 24]));
        let range = doc! { "$gt": after, "$lte": MessageId::from_bytes([0xff; 24]) };
        let limit = int(count);
        let shard = shard.clone_with_type::<Text>();
        let find = shard.find(doc! { "_id": range });
        let find = find.projection(doc! { "text": 1, "at": 1 }).sort(doc! { "_id": 1 });
        let texts = all(&shard, find.limit(limit)).await?;
        let last = texts.last().filter(|_| texts.len() == count).map(|text| text.message);
        let next = last.map_or(next_shard, |last| Again { after: Some(last), ..place });
        Ok((texts, next))
    }

    /// Whether a place is past the last message.
    #[must_use]
    pub fn is_past(&self, place: Again) -> bool {
        place.shard >= self.messages.all().len()
    }

    /// Writes a batch; whether the lease still stood, and so anything was written.
    pub async fn write(&self, lease: Lease, batch: Batch, now: Timestamp) -> Result<bool> {
        let this = self.clone();
        let updates: Vec<RowUpdate> = batch.found.iter().map(upsert).collect();
        self.store
            .transact(async move |tx| {
                let (own, change) = lease::renewal(lease, now, batch.again);
                let held = this.leases.update_one(own, change).session(tx.session()).await?;
                if held.matched_count == 0 {
                    return Ok(false);
                }
                tx.table::<Document>(WORDS).update_each(updates.clone()).await?;
                if !batch.gone.is_empty() {
                    let gone = doc! { "_id": { "$in": batch.gone.clone() } };
                    this.words.delete_many(gone).session(tx.session()).await?;
                }
                tx.unindexed().remove(&batch.markers).await?;
                Ok(true)
            })
            .await
    }
}

fn upsert(indexed: &Indexed) -> RowUpdate {
    let words: Vec<Bson> = indexed.words.iter().map(|word| Bson::Int64(*word)).collect();
    let set = doc! {
        "conversation_id": indexed.message.conversation, "words": words, "at": indexed.at,
    };
    RowUpdate::of(doc! { "_id": indexed.message }, doc! { "$set": set }).or_insert()
}

/// Ranges of keys that hold these messages: the first message of each, and its last number.
fn runs(mut messages: Vec<MessageId>) -> Vec<(MessageId, u64)> {
    messages.sort_unstable();
    let mut runs: Vec<(MessageId, u64)> = Vec::new();
    for id in messages {
        match runs.last_mut() {
            Some((first, last))
                if first.conversation == id.conversation && id.seq - *last <= GAP =>
            {
                *last = id.seq;
            }
            _ => runs.push((id, id.seq)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ConversationId;

    #[test]
    fn neighbours_are_read_in_one_go() {
        let one = |seq| MessageId::new(ConversationId::from_bytes([1; 16]), seq);
        let two = |seq| MessageId::new(ConversationId::from_bytes([2; 16]), seq);
        let messages = vec![two(7), one(20), one(3), one(1), one(3), one(11), two(6)];
        let expected = [(one(1), 11), (one(20), 20), (two(6), 7)];
        assert_eq!(runs(messages), expected);
        assert_eq!(runs(Vec::new()), []);
    }
}
