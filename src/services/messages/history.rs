//! Pages of history.

use serde::Serialize;
use utoipa::ToSchema;

use super::Messages;
use super::view::{Place, shown};
use crate::cache::pages;
use crate::domain::conversations::Summary;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, OthersMarks, StoredMessage};
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
}

/// A page of history, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct History {
    /// Whose it is.
    pub conversation_id: ConversationId,
    /// Its messages, newest first.
    pub items: Vec<Message>,
    /// What to pass as `before` for the older page; `None` at the beginning.
    pub older_cursor: Option<MessageId>,
    /// What to pass as `after` for the newer page; `None` at the end.
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
            return self.page(&summary, mark, limit).await;
        }
        if self.repositories.users.public(&[peer]).await?.is_empty() {
            return Err(Error::not_found());
        }
        match mark {
            Mark::Newest => Ok(History {
                conversation_id: ConversationId::direct(reader, peer),
                items: Vec::new(),
                older_cursor: None,
                newer_cursor: None,
            }),
            _ => Err(bad_mark()),
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
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        let summary = self.conversations.open(reader, conversation).await?;
        self.page(&summary, mark, limit).await
    }

    async fn page(&self, summary: &Summary, mark: Mark, limit: Limit) -> Result<History> {
        let (stored, marks) = tokio::try_join!(
            Box::pin(self.stored_page(summary, mark, limit.get())),
            Box::pin(self.repositories.marks.lowest_in(summary)),
        )?;
        let place = Place::of(summary);
        let status = |m: &StoredMessage, marks: &OthersMarks| marks.status(m.sender, m.id.seq);
        let items: Vec<Message> =
            stored.iter().map(|m| shown(m, &place, status(m, &marks))).collect();
        // Numbers have no gaps: there is an older page unless this one begins with the first.
        let older_cursor = items.last().filter(|m| m.seq > 1).map(|m| m.id);
        let newer_cursor = items.first().filter(|m| m.seq < summary.last_seq).map(|m| m.id);
        Ok(History { conversation_id: summary.id, items, older_cursor, newer_cursor })
    }

    async fn stored_page(
        &self,
        summary: &Summary,
        mark: Mark,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let (id, last) = (summary.id, summary.last_seq);
        let is_known = |m: MessageId| m.conversation == id && (1..=last).contains(&m.seq);
        let messages = &self.repositories.messages;
        match mark {
            Mark::Newest if limit <= pages::PAGE => {
                let load = messages.newest(id, (1, last), pages::PAGE);
                let mut page = pages::newest(&self.redis, summary, load).await?;
                page.truncate(limit);
                Ok(page)
            }
            Mark::Newest => messages.newest(id, (1, last), limit).await,
            Mark::Before(m) if is_known(m) => messages.newest(id, (1, m.seq - 1), limit).await,
            Mark::After(m) if is_known(m) => messages.oldest(id, (m.seq + 1, last), limit).await,
            Mark::Before(_) | Mark::After(_) => Err(bad_mark()),
        }
    }
}

fn bad_mark() -> Error {
    Error::malformed("invalid_cursor", "the mark is not a message of this conversation")
}
