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
use crate::repositories::Repositories;
use crate::repositories::search::{Walk, Wanted};

/// So many of the newest messages with a word are gone through.
const MOST: usize = 2000;

/// The rules of searching.
#[derive(Debug)]
pub struct Search {
    repositories: Repositories,
    conversations: Arc<Conversations>,
    view: View,
    cursors: Cursors,
}

/// A message that has all words.
struct Hit {
    message: StoredMessage,
    /// How many candidates the walk had met up to it.
    met: usize,
}

impl Hit {
    fn found(&self) -> Found {
        Found { at: self.message.at, id: self.message.id }
    }
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
        let met = position.map_or(0, |position| position.met);
        let hits = Box::pin(self.hits(walk, words, limit.get() + 1, met)).await?;
        let page = self.cursors.page(scope, limit, hits, |hit| SearchPosition {
            last: hit.found(),
            met: hit.met,
            by,
        });
        let items = self.shown(reader, page.items).await?;
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

    /// Up to `wanted` messages that have all words. The index may be behind an edit or a deletion:
    /// what the messages say now decides.
    async fn hits(
        &self,
        mut walk: Walk,
        words: &Words,
        wanted: usize,
        mut met: usize,
    ) -> Result<Vec<Hit>> {
        let mut hits: Vec<Hit> = Vec::new();
        while hits.len() < wanted {
            let mut likely: Vec<(MessageId, usize)> = Vec::new();
            while likely.len() < wanted - hits.len() && met < MOST {
                let Some(candidate) = walk.next().await? else { break };
                met += 1;
                if candidate.has_all {
                    likely.push((candidate.message.id, met));
                }
            }
            if likely.is_empty() {
                break;
            }
            let ids: Vec<MessageId> = likely.iter().map(|(id, _)| *id).collect();
            let stored = self.repositories.messages.many(&ids).await?;
            let mut stored: HashMap<MessageId, StoredMessage> =
                stored.into_iter().map(|message| (message.id, message)).collect();
            hits.extend(likely.into_iter().filter_map(|(id, met)| {
                let message = stored.remove(&id)?;
                let stands = message.deleted_at.is_none() && words.are_in(&message.text);
                stands.then_some(Hit { message, met })
            }));
        }
        Ok(hits)
    }

    async fn shown(&self, reader: UserId, hits: Vec<Hit>) -> Result<Vec<Message>> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<ConversationId> =
            hits.iter().map(|hit| hit.message.id.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let summaries = self.repositories.conversations.many(&ids).await?;
        // A group that has just ended takes its messages along.
        let stands = |id: ConversationId| summaries.iter().any(|summary| summary.id == id);
        let stored: Vec<StoredMessage> = hits
            .into_iter()
            .map(|hit| hit.message)
            .filter(|message| stands(message.id.conversation))
            .collect();
        let summaries: Vec<&Summary> = summaries.iter().collect();
        self.view.of(reader, &summaries, &stored).await
    }
}

/// How many candidates are asked for at once: about as many as are needed, and, where several
/// queries are open, no more than may be gone through in all.
fn batch(limit: Limit, others: &[i64], places: usize) -> usize {
    let needed = if others.is_empty() { limit.get() + 1 } else { limit.get().max(100) + 1 };
    needed.min((MOST / places.div_ceil(200).max(1)).max(2))
}
