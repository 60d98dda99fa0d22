//! Typing: who is told that someone is.

use crate::domain::conversations::Kind;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::Repositories;
use crate::store::Store;

/// The rules of typing.
#[derive(Debug)]
pub struct Typing {
    store: Store,
}

impl Typing {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories) -> Self {
        Self { store: repositories.store.clone() }
    }

    /// Who is told that `user` is typing in a conversation: everyone else in it but those whom
    /// they have blocked, or who have blocked them. Nobody, where they are not in it themselves.
    pub async fn audience(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<Vec<UserId>> {
        let Some(place) = self.store.members().find(conversation, user).await? else {
            return Ok(Vec::new());
        };
        let mut others = match place.kind {
            Kind::Direct => {
                let summary = self.store.conversations().find(conversation).await?;
                summary.map(|it| it.members).unwrap_or_default()
            }
            Kind::Group => self.store.members().users(conversation).await?,
        };
        others.retain(|other| *other != user);
        let apart = self.store.relations().blocked_among(user, &others).await?;
        others.retain(|other| !apart.contains(other));
        Ok(others)
    }
}
// 2
