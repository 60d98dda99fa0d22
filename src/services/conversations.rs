//! Conversations: who may look into one, and how far its readers are.

use serde::Serialize;
use utoipa::ToSchema;

use super::unread::Unread;
use crate::domain::clock::Clock;
use crate::domain::conversations::{Kind, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::Store;

/// Where a reader stands after marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadState {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Read up to here.
    #[schema(example = 7)]
    pub read_seq: u64,
    /// What others wrote after that.
    #[schema(example = 0)]
    pub unread_count: u64,
}

/// The rules of conversations.
#[derive(Debug)]
pub struct Conversations {
    store: Store,
    unread: Unread,
    clock: Clock,
}

impl Conversations {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories, clock: &Clock) -> Self {
        Self {
            store: repositories.store.clone(),
            unread: Unread::new(&repositories.store),
            clock: clock.clone(),
        }
    }

    /// A conversation that the reader is in.
    ///
    /// # Errors
    /// `not_found` for outsiders, and where nothing was ever said; or the store is away.
    pub async fn open(&self, reader: UserId, id: ConversationId) -> Result<Summary> {
        let summary = self.store.conversations().find(id).await?.ok_or_else(Error::not_found)?;
        let is_member = match summary.kind {
            Kind::Direct => summary.members.contains(&reader),
            Kind::Group => self.store.members().find(id, reader).await?.is_some(),
        };
        if is_member { Ok(summary) } else { Err(Error::not_found()) }
    }

    /// The direct conversation with a user; `None` before its first message.
    pub async fn direct(&self, reader: UserId, peer: UserId) -> Result<Option<Summary>> {
        self.store.conversations().find(ConversationId::direct(reader, peer)).await
    }

    /// Marks everything up to a message as read; never back.
    ///
    /// # Errors
    /// `not_found` for outsiders and for a message that is not of this conversation.
    pub async fn mark_read(
        &self,
        reader: UserId,
        id: ConversationId,
        message: MessageId,
    ) -> Result<ReadState> {
        let summary = self.open(reader, id).await?;
        if message.conversation != id || !(1..=summary.last_seq).contains(&message.seq) {
            return Err(Error::not_found());
        }
        let at = self.clock.now();
        let state = self.unread.read_up_to(&summary, reader, message.seq, at).await?;
        let state = state.ok_or_else(Error::not_found)?;
        let read_seq = state.membership.read_seq;
        // Not one step with the mark, but repeated with it: reading again mends what a crash left.
        self.store.notifications().read_mentions(reader, id, read_seq).await?;
        Ok(ReadState { conversation_id: id, read_seq, unread_count: state.unread_count })
    }
}
