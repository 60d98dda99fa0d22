//! Reacting to a message: the member's row and the message's counts, together.

use mongodb::ClientSession;
use mongodb::bson::doc;

use super::{Revisions, stored};
use crate::domain::clock::Timestamp;
use crate::domain::emoji::{Emoji, fold};
use crate::domain::ids::{MessageId, UserId};
use crate::domain::messages::{Changed, ReactionCount};
use crate::error::{Error, Result};
use crate::repositories::messages::MessageRow;
use crate::repositories::store::Abort;

/// Most kinds of emoji on one message.
const MAX_KINDS: usize = 20;

impl Revisions {
    /// Adds a member's reaction; one that is there already changes nothing.
    ///
    /// # Errors
    /// Not found; `message_deleted`; `validation_failed` on `emoji` for one kind too many; the
    /// store is away.
    pub async fn react(
        &self,
        message: MessageId,
        user: UserId,
        emoji: &Emoji,
        at: Timestamp,
    ) -> Result<Changed> {
        let _turn = self.turns.of(message.conversation).await;
        let (this, emoji) = (self.clone(), emoji.clone());
        self.store
            .transact(async move |session| {
                let row = this.standing(session, message).await?;
                if !this.reactions.add(session, (user, message), &emoji, at).await? {
                    return Ok(Changed { message: row.into(), changed: false });
                }
                let mut counts = row.reactions;
                match counts.iter().position(|one| fold(&one.emoji) == emoji.folded()) {
                    Some(at) => counts[at].count += 1,
                    None if counts.len() >= MAX_KINDS => return Err(too_many_kinds().into()),
                    None => {
                        let emoji = emoji.as_str().to_owned();
                        counts.push(ReactionCount { emoji, count: 1 });
                    }
                }
                let after = this.count(session, message, &counts).await?;
                Ok(Changed { message: after.into(), changed: true })
            })
            .await
    }

    /// Takes a member's reaction back; where there is none, nothing changes.
    ///
    /// # Errors
    /// Not found; `message_deleted`; the store is away.
    pub async fn take_back(
        &self,
        message: MessageId,
        user: UserId,
        emoji: &Emoji,
    ) -> Result<Changed> {
        let _turn = self.turns.of(message.conversation).await;
        let (this, emoji) = (self.clone(), emoji.clone());
        self.store
            .transact(async move |session| {
                let row = this.standing(session, message).await?;
                if !this.reactions.remove(session, (user, message), &emoji).await? {
                    return Ok(Changed { message: row.into(), changed: false });
                }
                let mut counts = row.reactions;
                for same in counts.iter_mut().filter(|one| fold(&one.emoji) == emoji.folded()) {
                    same.count = same.count.saturating_sub(1);
                }
                counts.retain(|one| one.count > 0);
                let after = this.count(session, message, &counts).await?;
                Ok(Changed { message: after.into(), changed: true })
            })
            .await
    }

    async fn count(
        &self,
        session: &mut ClientSession,
        message: MessageId,
        counts: &[ReactionCount],
    ) -> Result<MessageRow, Abort> {
        let set = doc! { "reactions": stored(&counts)? };
        let after = self.set(session, message, set).await?;
        self.revise(session, message.conversation, doc! {}).await?;
        Ok(after)
    }
}

fn too_many_kinds() -> Error {
    Error::field("emoji", "too_many", "at most 20 kinds of emoji on a message")
}
