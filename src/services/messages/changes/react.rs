//! Reacting to a message: the member's row and the message's counts, together.

use super::Changes;
use crate::domain::clock::Timestamp;
use crate::domain::emoji::{Emoji, fold};
use crate::domain::events::Event;
use crate::domain::ids::{MessageId, UserId};
use crate::domain::messages::{Changed, ReactionCount};
use crate::error::{Error, Result};
use crate::store::Tx;

/// Most kinds of emoji on one message.
const MAX_KINDS: usize = 20;

impl Changes {
    /// Adds a member's reaction; one that is there already changes nothing.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`; `validation_failed` on `emoji` for one kind too many.
    pub async fn react(
        &self,
        message: MessageId,
        user: UserId,
        emoji: &Emoji,
        at: Timestamp,
    ) -> Result<Changed> {
        let (this, emoji) = (self.clone(), emoji.clone());
        self.transact(message.conversation, async move |tx: &mut Tx| {
            let before = this.standing(tx, message).await?;
            if tx.reactions().has(user, message, &emoji).await? {
                return Ok(Changed { message: before, changed: false });
            }
            tx.reactions().add(user, message, &emoji, at).await?;
            let mut counts = before.reactions;
            let ReactionCount { emoji, count } = one_more(&mut counts, &emoji)?;
            let added = Event::ReactionAdded { message, user, emoji, count };
            this.recount(tx, message, &counts, added, at).await
        })
        .await
    }

    /// Takes a member's reaction back; where there is none, nothing changes.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`.
    pub async fn take_back(
        &self,
        message: MessageId,
        user: UserId,
        emoji: &Emoji,
        at: Timestamp,
    ) -> Result<Changed> {
        let (this, emoji) = (self.clone(), emoji.clone());
        self.transact(message.conversation, async move |tx: &mut Tx| {
            let before = this.standing(tx, message).await?;
            if !tx.reactions().remove(user, message, &emoji).await? {
                return Ok(Changed { message: before, changed: false });
            }
            let mut counts = before.reactions;
            let ReactionCount { emoji, count } = one_less(&mut counts, emoji.as_str());
            let removed = Event::ReactionRemoved { message, user, emoji, count };
            this.recount(tx, message, &counts, removed, at).await
        })
        .await
    }
}

/// Counts one reaction more; how the message then counts it.
fn one_more(counts: &mut Vec<ReactionCount>, emoji: &Emoji) -> Result<ReactionCount> {
    if let Some(same) = counts.iter_mut().find(|one| fold(&one.emoji) == emoji.folded()) {
        same.count += 1;
        return Ok(same.clone());
    }
    if counts.len() >= MAX_KINDS {
        return Err(too_many_kinds());
    }
    let first = ReactionCount { emoji: emoji.as_str().to_owned(), count: 1 };
    counts.push(first.clone());
    Ok(first)
}

/// Counts one reaction less; how the message counted it, and how many are left.
pub(super) fn one_less(counts: &mut Vec<ReactionCount>, emoji: &str) -> ReactionCount {
    let folded = fold(emoji);
    let Some(at) = counts.iter().position(|one| fold(&one.emoji) == folded) else {
        return ReactionCount { emoji: emoji.to_owned(), count: 0 };
    };
    counts[at].count = counts[at].count.saturating_sub(1);
    if counts[at].count > 0 { counts[at].clone() } else { counts.remove(at) }
}

fn too_many_kinds() -> Error {
    Error::field("emoji", "too_many", "message has the maximum of 20 different reactions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emoji(text: &str) -> Emoji {
        Emoji::parse(text).unwrap()
    }

    fn counted(emoji: &str, count: u64) -> ReactionCount {
        ReactionCount { emoji: emoji.to_owned(), count }
    }

    #[test]
    fn the_first_spelling_of_an_emoji_is_counted() {
        let mut counts = Vec::new();
        assert_eq!(one_more(&mut counts, &emoji("❤")).unwrap(), counted("❤", 1));
        assert_eq!(one_more(&mut counts, &emoji("❤\u{FE0F}")).unwrap(), counted("❤", 2));
        assert_eq!(one_less(&mut counts, "❤\u{FE0F}"), counted("❤", 1));
        assert_eq!(counts, [counted("❤", 1)]);
        assert_eq!(one_less(&mut counts, "❤\u{FE0F}"), counted("❤", 0));
        assert_eq!(counts, []);
        assert_eq!(one_less(&mut counts, "❤"), counted("❤", 0));
    }
}
