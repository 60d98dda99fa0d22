//! Messages by their words: `message_words`, in rounds of conversations.
//!
//! MongoDB reads an index in the order that is asked for, however many keys an `$in` has, as long
//! as those are no more than `ROUND`: it then merges one scan for each. So a search over more
//! conversations is several queries, and merging them is done here; each is only made when its
//! conversations are active enough to have the next newest message.

use std::collections::VecDeque;

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use mongodb::Cursor;
use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use serde::Deserialize;

use super::bson::{date, id};
use super::indexing::WORDS;
use super::{Collection, Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::search::{Candidate, Found, Place};
use crate::error::Result;

/// How many conversations one query searches: `internalQueryMaxScansToExplode`.
const ROUND: usize = 200;

/// So many words of a query are tried for the rarest, the longest of them …
const TRIED: usize = 4;

/// … and so many messages of each are counted.
const SAMPLE: u64 = 250;

/// A row of `message_words`, without its words.
#[derive(Debug, Deserialize)]
struct CandidateRow {
    #[serde(rename = "_id", with = "id")]
    id: MessageId,
    #[serde(with = "date")]
    at: Timestamp,
    /// Only asked where there are other words.
    #[serde(default)]
    has_all: Option<bool>,
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        let message = Found { at: row.at, id: row.id };
        Self { message, has_all: row.has_all.unwrap_or(true) }
    }
}

/// What the index is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The hash of the word whose messages are gone through.
    pub by: i64,
    /// The hashes of the others.
    pub others: Vec<i64>,
    /// Only messages from before this one.
    pub before: Option<Found>,
    /// About how many are wanted.
    pub count: usize,
}

/// The collection `message_words`, and who may search what.
#[derive(Debug, Clone)]
pub struct Search {
    store: Store,
    words: Collection<CandidateRow>,
}

impl Search {
    /// The index of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), words: store.collection(WORDS) }
    }

    /// All conversations that a user is in, the latest activity first. Reads index entries of the
    /// direct ones, and the summaries of the groups (500 at most).
    pub async fn places(&self, user: UserId) -> Result<Vec<Place>> {
        let groups = async {
            let ids = self.store.members().group_ids(user).await?;
            self.store.conversations().places(&ids).await
        };
        let direct = self.store.conversations().direct_places(user);
        let (mut places, groups) = tokio::try_join!(direct, groups)?;
        places.extend(groups);
        places.sort_unstable_by_key(|place| std::cmp::Reverse((place.last_at, place.id)));
        Ok(places)
    }

    /// That of some words which is said least in the most active of these places: an estimate
    /// from the first few words and a sample of messages. The first, where they are all common.
    pub async fn rarest(&self, words: &[i64], places: &[Place]) -> Result<Option<i64>> {
        if words.len() < 2 {
            return Ok(words.first().copied());
        }
        let round = &places[..places.len().min(ROUND)];
        let counts = words.iter().take(TRIED).map(|word| async move {
            let said = self.words.count_documents(said(*word, round)).limit(SAMPLE);
            within(&self.words, said.hint(index())).await.map(|count| (count, *word))
        });
        let counts = try_join_all(counts).await?;
        Ok(counts.into_iter().min_by_key(|(count, _)| *count).map(|(_, word)| word))
    }

    /// A walk through the messages of these places, which are in order, from the newest on.
    #[must_use]
    pub fn walk(&self, places: &[Place], wanted: Wanted) -> Walk {
        Walk {
            words: self.words.clone(),
            wanted,
            ahead: places.chunks(ROUND).map(<[Place]>::to_vec).collect(),
            open: Vec::new(),
        }
    }
}

/// Messages of one word, the newest first.
#[derive(Debug)]
pub struct Walk {
    words: Collection<CandidateRow>,
    wanted: Wanted,
    /// Rounds that were not needed yet.
    ahead: VecDeque<Vec<Place>>,
    open: Vec<Round>,
}

/// A query under way.
#[derive(Debug)]
struct Round {
    /// The newest that it has left.
    head: Candidate,
    rest: Cursor<CandidateRow>,
}

impl Walk {
    /// The next message.
    pub async fn next(&mut self) -> Result<Option<Candidate>> {
        let newest = |open: &[Round]| {
            let heads = open.iter().enumerate();
            heads.max_by_key(|(_, round)| round.head.message).map(|(n, round)| (n, round.head))
        };
        let mut best = newest(&self.open);
        // A message of the next round may be newer than the best so far.
        while let Some(round) = self.ahead.pop_front_if(|round| {
            let last_at = round.first().map(|place| place.last_at);
            best.is_none_or(|(_, best)| last_at.is_some_and(|last_at| last_at >= best.message.at))
        }) {
            self.open(&round).await?;
            best = newest(&self.open);
        }
        let Some((n, best)) = best else { return Ok(None) };
        match within(&self.words, self.open[n].rest.try_next()).await? {
            Some(row) => self.open[n].head = row.into(),
            None => drop(self.open.swap_remove(n)),
        }
        Ok(Some(best))
    }

    async fn open(&mut self, round: &[Place]) -> Result<()> {
        let Wanted { by, others, before, count } = &self.wanted;
        let mut filter = said(*by, round);
        if let Some(before) = before {
            filter.insert("at", doc! { "$lte": before.at });
        }
        let mut projection = doc! { "at": 1 };
        if !others.is_empty() {
            let has_all = doc! { "$setIsSubset": [others.clone(), "$words"] };
            projection.insert("has_all", has_all);
        }
        let find = self.words.find(filter).projection(projection);
        let find = find.sort(doc! { "at": -1, "_id": -1 }).hint(index());
        let batch = u32::try_from(*count).unwrap_or(u32::MAX).max(2);
        let mut rest = within(&self.words, find.batch_size(batch)).await?;
        // Those of the very same moment, which the bound lets in.
        while let Some(row) = within(&self.words, rest.try_next()).await? {
            let head = Candidate::from(row);
            if before.is_none_or(|before| head.message < before) {
                self.open.push(Round { head, rest });
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Messages of these places that say a word.
fn said(word: i64, places: &[Place]) -> Document {
    let places: Vec<ConversationId> = places.iter().map(|place| place.id).collect();
    doc! { "words": word, "conversation_id": { "$in": places } }
}

fn index() -> Hint {
    Hint::Name("words".to_owned())
}
