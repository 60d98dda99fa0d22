//! Changes to messages that are there already: edits, deletions, reactions, pins. Each is one
//! transaction with all that follows from it, and raises its conversation's revision, so that no
//! page of history that was cached before it is used again.
//!
//! A change of a message meets every other change of its conversation at the summary, the writer
//! included: of two that run at once one starts again on what the other left.

mod delete;
mod edit;
mod forget;
mod pin;
mod react;

pub(super) use self::edit::Edit;
use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::{ConversationId, MessageId};
use crate::domain::messages::{Changed, ReactionCount, StoredMessage, message_deleted};
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::messages::Messages;
use crate::store::striped_locks::StripedLocks;
use crate::store::{Store, Tx};

/// Attempts of a transaction before it writes the conversation's summary first.
const OPTIMISTIC_ATTEMPTS: u32 = 3;

/// The rules of changes to messages.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Over connections that readers do not use.
    store: Store,
    messages: Messages,
    locks: StripedLocks,
}

impl Changes {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories) -> Self {
        Self {
            store: repositories.writers.clone(),
            messages: repositories.messages.clone(),
            locks: StripedLocks::new(),
        }
    }

    /// Runs a transaction that changes messages of this conversation: in this instance one after
    /// another, as two at once would only make each other start again.
    ///
    /// A flood of messages writes the summary so often that a transaction which comes to it last
    /// never commits. After a few conflicts the transaction therefore writes it first, and the
    /// writer waits. It does not at once: a flood of changes would keep messages out as long as it
    /// lasts.
    async fn transact<T>(
        &self,
        conversation: ConversationId,
        mut body: impl AsyncFnMut(&mut Tx) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.locks.lock(conversation.bytes()).await;
        let mut attempts = 0;
        self.store
            .transact(async move |tx: &mut Tx| {
                attempts += 1;
                if attempts > OPTIMISTIC_ATTEMPTS {
                    tx.conversations().revise(conversation).await?;
                }
                body(tx).await
            })
            .await
    }

    /// Stores the reactions of a message as counted after a change, and tells its conversation.
    async fn recount(
        &self,
        tx: &mut Tx,
        message: MessageId,
        counts: &[ReactionCount],
        event: Event,
        at: Timestamp,
    ) -> Result<Changed> {
        let after = self.messages.count_reactions(tx, message, counts).await?;
        revise(tx, message.conversation).await?;
        announce(tx, message, event, at).await?;
        Ok(Changed { message: after.ok_or_else(Error::not_found)?, changed: true })
    }

    /// A message that is not deleted.
    async fn standing(&self, tx: &mut Tx, id: MessageId) -> Result<StoredMessage> {
        let message = self.messages.find_in(tx, id).await?.ok_or_else(Error::not_found)?;
        if message.deleted_at.is_some() { Err(message_deleted()) } else { Ok(message) }
    }
}

/// Raises the revision of a conversation. A group that ended meanwhile takes its conversation
/// along.
async fn revise(tx: &mut Tx, conversation: ConversationId) -> Result<()> {
    there(tx.conversations().revise(conversation).await?)
}

fn there(is_there: bool) -> Result<()> {
    if is_there { Ok(()) } else { Err(Error::not_found()) }
}

/// Tells everyone in the conversation of a message.
async fn announce(tx: &mut Tx, message: MessageId, event: Event, at: Timestamp) -> Result<()> {
    tx.events().add([AddressedEvent::among(message.conversation, event)], at).await
}
