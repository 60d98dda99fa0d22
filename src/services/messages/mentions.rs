//! Whom a text mentions.

use std::collections::{HashMap, HashSet};

use super::Messages;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::mentions::candidates;
use crate::error::Result;

/// Whom a text mentions, and who of them is told.
#[derive(Debug, Default)]
pub(super) struct Mentioned {
    /// Members, each once, in the order of the text.
    pub all: Vec<UserId>,
    /// Without the sender, and without those who have muted the conversation.
    pub told: Vec<UserId>,
}

impl Messages {
    /// The members of a conversation that a text of `sender` mentions. Between two of whom one
    /// has blocked the other there are no mentions.
    pub(super) async fn mentioned(
        &self,
        sender: UserId,
        conversation: ConversationId,
        text: &str,
    ) -> Result<Mentioned> {
        let names = candidates(text);
        if names.is_empty() {
            return Ok(Mentioned::default());
        }
        let forms: HashSet<&str> = names.iter().flatten().map(String::as_str).collect();
        let forms: Vec<&str> = forms.into_iter().collect();
        let known = self.repositories.store.users().named_exactly(&forms).await?;
        let ids: Vec<UserId> = known.values().copied().collect();
        let members = self.places(sender, conversation, &ids).await?;
        let blocked = self.repositories.store.relations().blocked_among(sender, &ids).await?;
        let now = self.clock.now();
        let mut mentioned = Mentioned::default();
        for forms in names {
            let people = forms.iter().filter_map(|form| known.get(form));
            let meant = people.copied().find(|user| members.contains_key(user));
            let Some(user) = meant.filter(|user| !blocked.contains(user)) else { continue };
            if mentioned.all.contains(&user) {
                continue;
            }
            mentioned.all.push(user);
            let muted = members.get(&user).copied().flatten();
            if user != sender && muted.is_none_or(|until| until <= now) {
                mentioned.told.push(user);
            }
        }
        Ok(mentioned)
    }

    /// Those of some users who are in a conversation, and until when they have muted it. Both are
    /// in a direct one before its first message, too.
    async fn places(
        &self,
        sender: UserId,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Option<Timestamp>>> {
        let direct = |user: &&UserId| ConversationId::direct(sender, **user) == conversation;
        let mut places: HashMap<UserId, Option<Timestamp>> =
            users.iter().filter(direct).map(|user| (*user, None)).collect();
        let members = self.repositories.store.members().some(conversation, users).await?;
        places.extend(members.into_iter().map(|member| (member.user, member.muted_until)));
        Ok(places)
    }
}
