//! Pages of history.

use std::ops::Range;

use serde::Serialize;
use utoipa::ToSchema;

use super::Messages;
use crate::cache::pages;
use crate::domain::conversations::Summary;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, StoredMessage};
use crate::domain::page::Limit;
use crate::error::{Error, Result};

/// Which page of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The newest.
    Newest,
    /// The one next to a message, on its older side.
    Before(MessageId),
    /// The one next to a message, on its newer side.
    After(MessageId),
    /// The one with a message in its middle.
    Around(MessageId),
}

/// Which messages of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that are pinned.
    Pinned,
}

/// A page of history, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct History {
    /// Whose it is.
    pub conversation_id: ConversationId,
    /// Its messages, newest first.
    pub items: Vec<Message>,
    /// What to pass as `before` for the older page; null at the beginning.
    pub older_cursor: Option<MessageId>,
    /// What to pass as `after` for the newer page; null at the end.
    pub newer_cursor: Option<MessageId>,
}

impl Messages {
    /// A page of the history with a user, which may be empty.
    ///
    /// # Errors
    /// `not_found` where there is no such user; `invalid_cursor` for a mark of elsewhere.
    pub async fn history_with(
        &self,
        reader: UserId,
        peer: UserId,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        if let Some(summary) = self.conversations.direct(reader, peer).await? {
            return self.page(reader, &summary, mark, limit).await;
        }
        if self.repositories.store.users().public(&[peer]).await?.is_empty() {
            return Err(Error::not_found());
        }
        match mark {
            Mark::Newest => Ok(History {
                conversation_id: ConversationId::direct(reader, peer),
                items: Vec::new(),
                older_cursor: None,
                newer_cursor: None,
            }),
            Mark::Before(_) | Mark::After(_) | Mark::Around(_) => Err(bad_mark()),
        }
    }

    /// A page of a conversation's history.
    ///
    /// # Errors
    /// `not_found` for outsiders; `invalid_cursor` for a mark of elsewhere.
    pub async fn history(
        &self,
        reader: UserId,
        conversation: ConversationId,
        which: Which,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        let summary = self.conversations.open(reader, conversation).await?;
        match which {
            Which::All => self.page(reader, &summary, mark, limit).await,
            Which::Pinned => self.pinned(reader, &summary, mark, limit).await,
        }
    }

    async fn page(
        &self,
        reader: UserId,
        summary: &Summary,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        let stored = Box::pin(self.stored_page(summary, mark, limit.get()));
        let items = self.view.page(reader, summary, stored).await?;
        let (older, newer) = ends(mark, &items);
        // Numbers have no gaps: there is an older page unless this one begins with the first.
        let older_cursor = older.filter(|id| id.seq > 1);
        let newer_cursor = newer.filter(|id| id.seq < summary.last_seq);
        Ok(History { conversation_id: summary.id, items, older_cursor, newer_cursor })
    }

    /// A page of the pinned messages, in the order of the history.
    async fn pinned(
        &self,
        reader: UserId,
        summary: &Summary,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        let mut pins = summary.pins.clone();
        pins.sort_unstable_by_key(|seq| std::cmp::Reverse(*seq));
        let part = part_of(&pins, known_mark(summary, mark)?, limit.get());
        let id = |seq: &u64| MessageId::new(summary.id, *seq);
        let page: Vec<MessageId> = pins[part.clone()].iter().map(id).collect();
        let mut stored = self.repositories.messages.many(&page).await?;
        stored.sort_by_key(|message| std::cmp::Reverse(message.id.seq));
        let items = self.view.of(reader, &[summary], &stored).await?;
        let (older, newer) = ends(mark, &items);
        let older_cursor = older.filter(|_| part.end < pins.len());
        let newer_cursor = newer.filter(|_| part.start > 0);
        Ok(History { conversation_id: summary.id, items, older_cursor, newer_cursor })
    }

    async fn stored_page(
        &self,
        summary: &Summary,
        mark: Mark,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let (id, last) = (summary.id, summary.last_seq);
        let messages = &self.repositories.messages;
        match known_mark(summary, mark)? {
            Mark::Newest if limit <= pages::PAGE => {
                let load = messages.newest(id, (1, last), pages::PAGE);
                let mut page = pages::newest(&self.redis, summary, load).await?;
                page.truncate(limit);
                Ok(page)
            }
            Mark::Newest => messages.newest(id, (1, last), limit).await,
            Mark::Before(m) => messages.newest(id, (1, m.seq - 1), limit).await,
            Mark::After(m) => messages.oldest(id, (m.seq + 1, last), limit).await,
            Mark::Around(m) => {
                let (first, last) = around(m.seq, last, limit);
                messages.newest(id, (first, last), limit).await
            }
        }
    }
}

/// A mark that is a message of this conversation.
fn known_mark(summary: &Summary, mark: Mark) -> Result<Mark> {
    match mark {
        Mark::Newest => Ok(mark),
        Mark::Before(m) | Mark::After(m) | Mark::Around(m) => {
            let is_known = m.conversation == summary.id && (1..=summary.last_seq).contains(&m.seq);
            if is_known { Ok(mark) } else { Err(bad_mark()) }
        }
    }
}

/// The numbers of a page with `seq` in its middle: up to half of the others on each side, and no
/// more than there are.
fn around(seq: u64, last: u64, limit: usize) -> (u64, u64) {
    let others = limit as u64 - 1;
    let newer = others / 2;
    (seq.saturating_sub(others - newer).max(1), (seq + newer).min(last))
}

/// Which of some numbers, the greatest first, make the page at a mark.
fn part_of(pins: &[u64], mark: Mark, limit: usize) -> Range<usize> {
    let newer_than = |seq: u64| pins.iter().take_while(|pin| **pin > seq).count();
    let older_from = |seq: u64| pins.iter().take_while(|pin| **pin >= seq).count();
    let (start, end) = match mark {
        Mark::Newest => (0, limit),
        Mark::Before(m) => (older_from(m.seq), older_from(m.seq) + limit),
        Mark::After(m) => {
            let end = newer_than(m.seq);
            (end.saturating_sub(limit), end)
        }
        Mark::Around(m) => {
            let (newer, older) = ((limit - 1) / 2, (limit - 1) - (limit - 1) / 2);
            (newer_than(m.seq).saturating_sub(newer), older_from(m.seq) + older)
        }
    };
    start..end.min(pins.len())
}

/// Where a page of messages goes on, on its older and its newer side. Where there is nothing on one
/// side of the mark, the other side goes on from the mark.
fn ends(mark: Mark, items: &[Message]) -> (Option<MessageId>, Option<MessageId>) {
    match (mark, items.last().zip(items.first())) {
        (_, Some((oldest, newest))) => (Some(oldest.id), Some(newest.id)),
        (Mark::After(mark), None) => (Some(mark), None),
        (Mark::Before(mark), None) => (None, Some(mark)),
        (Mark::Newest | Mark::Around(_), None) => (None, None),
    }
}

fn bad_mark() -> Error {
    Error::malformed(
        "invalid_cursor",
        "before, after or around does not name a message of this conversation",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_around_a_message_has_half_on_each_side() {
        assert_eq!(around(10, 20, 5), (8, 12));
        assert_eq!(around(10, 20, 4), (8, 11));
        assert_eq!(around(10, 20, 1), (10, 10));
        assert_eq!(around(1, 20, 5), (1, 3));
        assert_eq!(around(20, 20, 5), (18, 20));
    }

    #[test]
    fn pins_are_paged_as_history_is() {
        let at = |seq| MessageId::new(ConversationId::from_bytes([0; 16]), seq);
        let pins = [9, 7, 5, 3, 1];
        let page = |mark, limit| pins[part_of(&pins, mark, limit)].to_vec();
        assert_eq!(page(Mark::Newest, 2), [9, 7]);
        assert_eq!(page(Mark::Before(at(7)), 2), [5, 3]);
        assert_eq!(page(Mark::Before(at(6)), 2), [5, 3]);
        assert_eq!(page(Mark::After(at(3)), 2), [7, 5]);
        assert_eq!(page(Mark::After(at(4)), 9), [9, 7, 5]);
        assert_eq!(page(Mark::Around(at(5)), 3), [7, 5, 3]);
        assert_eq!(page(Mark::Around(at(6)), 3), [7, 5]);
        assert_eq!(page(Mark::Before(at(1)), 2), Vec::<u64>::new());
    }
}
