//! Taking back the reactions of an account that is gone: each with what it counts, so that it can be
//! done again from wherever it stopped.

use mongodb::bson::doc;

use super::reacting::one_less;
use super::{Revisions, stored};
use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::messages::ReactionCount;
use crate::error::Result;
use crate::repositories::reactions::Own;
use crate::repositories::store::Tx;

/// Reactions that one call takes back.
const FORGOTTEN_AT_ONCE: usize = 20;

impl Revisions {
    /// Takes back some reactions of a user, one transaction for each conversation; whether there
    /// may be more.
    ///
    /// # Errors
    /// When the store is away: some may be taken back then, each whole.
    pub async fn forget_reactions(&self, user: UserId, at: Timestamp) -> Result<bool> {
        let count = i64::try_from(FORGOTTEN_AT_ONCE).unwrap_or(i64::MAX);
        let found = self.reactions.some_of(user, count).await?;
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
        let _turn = self.turns.of(conversation.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |tx: &mut Tx| {
                let summary = this.conversations.find_one(doc! { "_id": conversation });
                let is_there = summary.session(tx.session()).await?.is_some();
                let mut told = Vec::new();
                for own in &reactions {
                    // Taken back by its owner, or by another instance.
                    if !this.reactions.forget(tx, own).await? {
                        continue;
                    }
                    if is_there && let Some(event) = this.uncount(tx, user, own).await? {
                        told.push(AddressedEvent::among(conversation, event));
                    }
                }
                if !told.is_empty() {
                    this.revise(tx, conversation, doc! {}).await?;
                    tx.events().add(told, at).await?;
                }
                Ok(())
            })
            .await
    }

    /// Counts a reaction no more; `None` where its message is gone, and counts none.
    async fn uncount(&self, tx: &mut Tx, user: UserId, own: &Own) -> Result<Option<Event>> {
        let message = own.message;
        let row = self.messages.shard(message.conversation).find_one(doc! { "_id": message });
        let row = row.session(tx.session()).await?;
        let Some(row) = row.filter(|row| row.deleted_at.is_none()) else { return Ok(None) };
        let mut counts = row.reactions;
        let ReactionCount { emoji, count } = one_less(&mut counts, &own.emoji);
        self.set(tx, message, doc! { "reactions": stored(&counts)? }).await?;
        Ok(Some(Event::ReactionRemoved { message, user, emoji, count }))
    }
}
