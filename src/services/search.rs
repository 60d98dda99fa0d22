//! Finding messages by their words, in the conversations that one is in.

use std::collections::HashMap;
use std::sync::Arc;

use super::conversations::Conversations;
use super::messages::View;
use crate::domain::conversations::Summary;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, StoredMessage};
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::search::{Found, Place, SearchPosition};
use crate::domain::words::Words;
use crate::error::Result;
use crate::store::Repositories;
use crate::store::search::{Walk, Wanted};

/// So many of the newest messages that match are found.
const MATCHES: usize = 2000;

/// So many index entries are gone through for one request …
const ENTRIES_PER_REQUEST: usize = 2000;

/// … and so many texts are read for it. A page may end here before it is full, with a cursor.
const TEXTS_PER_REQUEST: usize = 500;

/// Most texts that are read together: each is a stage of one query.
const TEXTS_PER_READ: usize = 101;

/// The rules of searching.
#[derive(Debug)]
pub struct Search {
    repositories: Repositories,
    conversations: Arc<Conversations>,
    view: View,
    cursors: Cursors,
}

/// The hits of one request.
struct Hits {
    messages: Vec<StoredMessage>,
    /// The last message gone through, where the request's budget ended before the page was full.
    stopped: Option<Found>,
}

fn found(message: &StoredMessage) -> Found {
    Found { at: message.at, id: message.id }
}

impl Search {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        conversations: &Arc<Conversations>,
        cursors: Cursors,
    ) -> Self {
        Self {
            repositories: repositories.clone(),
            conversations: conversations.clone(),
            view: View::new(repositories),
            cursors,
        }
    }

    /// A page of the messages that have all of these words, newest first: those that stand, in all
    /// of the reader's conversations or one of them.
    ///
    /// # Errors
    /// `not_found` for a conversation that the reader is not in; `invalid_cursor`; or the store is
    /// away.
    pub async fn messages(
        &self,
        reader: UserId,
        words: &Words,
        only: Option<ConversationId>,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<Message>> {
        let place = only.map_or_else(|| "all".to_owned(), |id| id.to_string());
        let list = format!("search/messages/{place}/{}", words.canonical());
        let scope = ListScope { list: &list, reader };
        let position: Option<SearchPosition> = self.cursors.resume(scope, cursor)?;
        let places = self.places(reader, only).await?;
        let Some(by) = self.word(words, &places, position).await? else {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        };
        let others: Vec<i64> = words.hashes().into_iter().filter(|word| *word != by).collect();
        let before = position.map(|position| position.last);
        let count = batch(limit, &others, places.len());
        let walk = self.repositories.search.walk(&places, Wanted { by, others, before, count });
        let shown = position.map_or(0, |position| position.shown);
        let wanted = (limit.get() + 1).min(MATCHES.saturating_sub(shown));
        let hits = Box::pin(self.hits(walk, words, wanted)).await?;
        let numbered = hits.messages.into_iter().zip(shown + 1..).collect();
        let mut page = self.cursors.page(scope, limit, numbered, |(message, shown)| {
            SearchPosition { last: found(message), shown: *shown, by }
        });
        if let Some(last) = hits.stopped {
            let shown = shown + page.items.len();
            page.next_cursor = Some(self.cursors.seal(scope, &SearchPosition { last, shown, by }));
        }
        let items = page.items.into_iter().map(|(message, _)| message).collect();
        let items = self.shown(reader, items).await?;
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    async fn places(&self, reader: UserId, only: Option<ConversationId>) -> Result<Vec<Place>> {
        let Some(only) = only else { return self.repositories.search.places(reader).await };
        let summary = self.conversations.open(reader, only).await?;
        Ok(vec![Place { id: summary.id, last_at: summary.last_at }])
    }

    /// The word whose messages are gone through: the same for all of a walk.
    async fn word(
        &self,
        words: &Words,
        places: &[Place],
        position: Option<SearchPosition>,
    ) -> Result<Option<i64>> {
        match position {
            Some(position) => Ok(Some(position.by)),
            None => self.repositories.search.rarest(&words.hashes(), places).await,
        }
    }

    /// Up to `wanted` messages that have all words, as far as the request's budget goes.
    async fn hits(&self, mut walk: Walk, words: &Words, wanted: usize) -> Result<Hits> {
        let mut hits = Hits { messages: Vec::new(), stopped: None };
        let (mut entries, mut texts) = (0, 0);
        while hits.messages.len() < wanted {
            if entries == ENTRIES_PER_REQUEST || texts == TEXTS_PER_REQUEST {
                return Ok(hits);
            }
            // Where few match, each round reads as many as all before it together.
            let missing = wanted - hits.messages.len();
            let round = missing.max(texts).min(TEXTS_PER_READ).min(TEXTS_PER_REQUEST - texts);
            let mut likely: Vec<MessageId> = Vec::new();
            let mut ended = false;
            while likely.len() < round && entries < ENTRIES_PER_REQUEST && !ended {
                let Some(candidate) = walk.next().await? else {
                    ended = true;
                    continue;
                };
                entries += 1;
                hits.stopped = Some(candidate.message);
                likely.extend(candidate.has_all.then_some(candidate.message.id));
            }
            texts += likely.len();
            hits.messages.extend(self.matching(&likely, words).await?);
            if ended {
                break;
            }
        }
        hits.messages.truncate(wanted);
        hits.stopped = None;
        Ok(hits)
    }

    /// Those of these messages that stand and have all words, in the same order. The index only
    /// proposes, and it may be behind an edit or a deletion: what a message says now decides.
    async fn matching(&self, ids: &[MessageId], words: &Words) -> Result<Vec<StoredMessage>> {
        let stored = self.repositories.messages.many(ids).await?;
        let mut stored: HashMap<MessageId, StoredMessage> =
            stored.into_iter().map(|message| (message.id, message)).collect();
        let mut matching = Vec::new();
        for message in ids.iter().filter_map(|id| stored.remove(id)) {
            if message.deleted_at.is_none() && words.are_in(&message.text) {
                matching.push(message);
            }
            // Other requests go on meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(matching)
    }

    async fn shown(&self, reader: UserId, hits: Vec<StoredMessage>) -> Result<Vec<Message>> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<ConversationId> =
            hits.iter().map(|message| message.id.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let summaries = self.repositories.store.conversations().many(&ids).await?;
        // A group that has just ended takes its messages along.
        let stands = |id: ConversationId| summaries.iter().any(|summary| summary.id == id);
        let stored: Vec<StoredMessage> =
            hits.into_iter().filter(|message| stands(message.id.conversation)).collect();
        let summaries: Vec<&Summary> = summaries.iter().collect();
        self.view.of(reader, &summaries, &stored).await
    }
}

/// How many candidates are asked for at once: about as many as are needed, and, where several
/// queries are open, no more than may be gone through in all.
fn batch(limit: Limit, others: &[i64], places: usize) -> usize {
    let needed = if others.is_empty() { limit.get() + 1 } else { limit.get().max(100) + 1 };
    needed.min((ENTRIES_PER_REQUEST / places.div_ceil(200).max(1)).max(2))
}
