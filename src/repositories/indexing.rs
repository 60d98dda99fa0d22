//! Filling `message_words`: which instance does it, what waits, and one transaction a batch.
//!
//! The lease is a row of `meta`. Every holder has a higher fence than those before, and each batch
//! is written in a transaction that changes the row under its own fence: whoever was overtaken
//! while it worked writes nothing, so that no older words replace newer ones.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::bson::{date, id, optional_date};
use super::messages::{Messages, range};
use super::store::{Abort, Collection, Store, all, duplicate, failed, within, within_raw};
pub use super::unindexed::Marker;
use super::unindexed::Unindexed;
use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::domain::ids::MessageId;
use crate::error::{Error, Result};

/// How long a silent holder keeps the lease.
const TERM: Duration = Duration::from_secs(5);

/// Messages of a conversation with no more than this many others between them are read in one go.
const GAP: u64 = 8;

/// The row `search` of `meta`.
#[derive(Debug, Deserialize)]
struct LeaseRow {
    /// Until when the lease is held; none when nobody holds it.
    #[serde(with = "optional_date", default)]
    until: Option<Timestamp>,
    /// Number of times that it was taken.
    fence: i64,
}

/// The right to fill the index, as long as nobody has taken it since.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    fence: i64,
}

/// What of a message is to be indexed.
#[derive(Debug, Deserialize)]
pub struct Text {
    #[serde(rename = "_id", with = "id")]
    message: MessageId,
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
}

/// Fills the index of words.
#[derive(Debug, Clone)]
pub struct Indexing {
    store: Store,
    leases: Collection<LeaseRow>,
    unindexed: Unindexed,
    messages: Messages,
    words: Collection<Document>,
}

impl Indexing {
    /// The index of a store over these messages.
    #[must_use]
    pub fn new(store: &Store, messages: Messages) -> Self {
        Self {
            store: store.clone(),
            leases: store.collection("meta"),
            unindexed: Unindexed::new(store),
            messages,
            words: store.collection("message_words"),
        }
    }

    /// Takes the lease unless somebody holds it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take(&self, now: Timestamp) -> Result<Option<Lease>> {
        let row = within(&self.leases, self.leases.find_one(doc! { "_id": "search" })).await?;
        // A later end is of before the clock was set back.
        let latest = now.plus(TERM).plus(CLOCK_TOLERANCE);
        let until = row.and_then(|row| row.until);
        if until.is_some_and(|until| until > now && until <= latest) {
            return Ok(None);
        }
        let free = doc! { "_id": "search", "$or": [
            { "until": { "$exists": false } },
            { "until": { "$lte": now } },
            { "until": { "$gt": latest } },
        ] };
        let change = doc! { "$inc": { "fence": 1_i64 }, "$set": { "until": now.plus(TERM) } };
        let take = self.leases.find_one_and_update(free, change).upsert(true);
        match within_raw(&self.leases, take.return_document(ReturnDocument::After)).await? {
            Ok(row) => Ok(row.map(|row| Lease { fence: row.fence })),
            // Someone else was first, so that the upsert tried to insert a second row.
            Err(error) if duplicate(&error).is_some() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps the lease; whether it still stood.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn renew(&self, lease: Lease, now: Timestamp) -> Result<bool> {
        let (own, change) = renewal(lease, now);
        Ok(within(&self.leases, self.leases.update_one(own, change)).await?.matched_count == 1)
    }

    /// Gives the lease back, so that others need not wait for its end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn give_back(&self, lease: Lease) -> Result<()> {
        let own = doc! { "_id": "search", "fence": lease.fence };
        within(&self.leases, self.leases.update_one(own, doc! { "$unset": { "until": "" } }))
            .await?;
        Ok(())
    }

    /// Up to `count` changes from a moment on that wait to be indexed, the oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn waiting(&self, from: Timestamp, count: usize) -> Result<Vec<Marker>> {
        self.unindexed.from(from, count).await
    }

    /// What these messages say now; missing are those that are not there.
    ///
    /// # Errors
    /// When the store is away.
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

    /// Writes a batch; whether the lease still stood, and so anything was written.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn write(&self, lease: Lease, batch: Batch, now: Timestamp) -> Result<bool> {
        let this = self.clone();
        let updates: Vec<Document> = batch.found.iter().map(upsert).collect();
        self.store
            .transact(async move |session| {
                let (own, change) = renewal(lease, now);
                let held = this.leases.update_one(own, change).session(&mut *session).await?;
                if held.matched_count == 0 {
                    return Ok(false);
                }
                if !updates.is_empty() {
                    this.update(session, updates.clone()).await?;
                }
                if !batch.gone.is_empty() {
                    let gone = doc! { "_id": { "$in": batch.gone.clone() } };
                    this.words.delete_many(gone).session(&mut *session).await?;
                }
                this.unindexed.remove(session, &batch.markers).await?;
                Ok(true)
            })
            .await
    }

    /// Many updates in one command.
    async fn update(
        &self,
        session: &mut ClientSession,
        updates: Vec<Document>,
    ) -> Result<(), Abort> {
        let command = doc! { "update": self.words.name(), "updates": updates, "ordered": true };
        let reply = self.store.database().run_command(command).session(session).await;
        match reply.map_err(Abort::again_if_taken)?.get_array("writeErrors") {
            Err(_) => Ok(()),
            Ok(errors) => Err(Abort::Rule(Error::internal(format!("message_words: {errors:?}")))),
        }
    }
}

fn renewal(lease: Lease, now: Timestamp) -> (Document, Document) {
    let own = doc! { "_id": "search", "fence": lease.fence };
    (own, doc! { "$set": { "until": now.plus(TERM) } })
}

fn upsert(indexed: &Indexed) -> Document {
    let words: Vec<Bson> = indexed.words.iter().map(|word| Bson::Int64(*word)).collect();
    let set = doc! {
        "conversation_id": indexed.message.conversation, "words": words, "at": indexed.at,
    };
    doc! { "q": { "_id": indexed.message }, "u": { "$set": set }, "upsert": true }
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
