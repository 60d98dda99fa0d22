//! Taking back the reactions of an account that is gone: each with what it counts, so that it can be
//! done again from wherever it stopped.

use super::react::one_less;
use super::{Changes, revise};
use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::messages::ReactionCount;
use crate::error::Result;
use crate::store::Tx;
use crate::store::rows::reactions::Own;

/// Reactions that one call takes back.
const FORGOTTEN_AT_ONCE: usize = 20;

impl Changes {
    /// Takes back some reactions of a user, one transaction for each conversation; whether there
    /// may be more. After an error some may have been taken back, each whole.
    pub async fn forget_reactions(&self, user: UserId, at: Timestamp) -> Result<bool> {
        let found = self.store.reactions().some_of(user, FORGOTTEN_AT_ONCE).await?;
        for own in found.chunk_by(|one, next| one.message.conversation == next.message.conversation)
        {
            self.forget_in(user, own[0].message.conversation, own.to_vec(), at).await?;
        }
        Ok(found.len() == FORGOTTEN_AT_ONCE)
    }

    async fn forget_in(
        &self,
        user: UserId,
        conversation: ConversationId,
        reactions: Vec<Own>,
        at: Timestamp,
    ) -> Result<()> {
        let this = self.clone();
        self.transact(conversation, async move |tx: &mut Tx| {
            let is_there = tx.conversations().find(conversation).await?.is_some();
            let mut told = Vec::new();
            for own in &reactions {
                // Taken back by its owner, or by another instance.
                if !tx.reactions().remove_own(own).await? {
                    continue;
                }
                if is_there && let Some(event) = this.uncount(tx, user, own).await? {
                    told.push(AddressedEvent::among(conversation, event));
                }
            }
            if !told.is_empty() {
                revise(tx, conversation).await?;
                tx.events().add(told, at).await?;
            }
            Ok(())
        })
        .await
    }

    /// Counts a reaction no more; `None` where its message is gone, and counts none.
    async fn uncount(&self, tx: &mut Tx, user: UserId, own: &Own) -> Result<Option<Event>> {
        let message = own.message;
        let stored = self.messages.find_in(tx, message).await?;
        let Some(stored) = stored.filter(|it| it.deleted_at.is_none()) else { return Ok(None) };
        let mut counts = stored.reactions;
        let ReactionCount { emoji, count } = one_less(&mut counts, &own.emoji);
        self.messages.count_reactions(tx, message, &counts).await?;
        Ok(Some(Event::ReactionRemoved { message, user, emoji, count }))
    }
}
