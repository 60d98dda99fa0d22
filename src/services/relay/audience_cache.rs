//! The members of conversations, cached by the relay. It reads changes of membership in the order of
//! commits, and drops a conversation from the cache then.

use std::collections::{HashMap, HashSet};

use crate::domain::conversations::Kind;
use crate::domain::events::{AddressedEvent, AudienceKind, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::services::frames::ConversationMembers;
use crate::store::Repositories;
use crate::store::events::stream::SequencedEvent;

/// Members in the cache; above that the relay empties it.
const MAX_CACHED_MEMBERS: usize = 500_000;

/// Friends who receive a change of a profile, the newest friendships. It bounds the writes of one
/// change, as the size of a group does for a message.
const MAX_FRIENDS_TOLD: usize = 5_000;

/// Above this many members a member receives only their own marks: a thousand marks for each message,
/// each sent to a thousand members, would be a million.
const MAX_MEMBERS_TOLD_OF_MARKS: usize = 100;

#[derive(Debug)]
pub(super) struct AudienceCache {
    repositories: Repositories,
    known: HashMap<ConversationId, ConversationMembers>,
    members: usize,
}

impl AudienceCache {
    pub fn new(repositories: &Repositories) -> Self {
        Self { repositories: repositories.clone(), known: HashMap::new(), members: 0 }
    }

    /// Reads the conversations of these events that the cache lacks, together.
    pub async fn load(&mut self, events: &[Box<SequencedEvent>]) -> Result<()> {
        let named = events.iter().filter_map(|it| it.addressed.audience.members);
        let missing: HashSet<ConversationId> =
            named.filter(|id| !self.known.contains_key(id)).collect();
        self.read(missing.into_iter().collect()).await
    }

    async fn read(&mut self, ids: Vec<ConversationId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        if self.members > MAX_CACHED_MEMBERS {
            (self.known, self.members) = Default::default();
        }
        for summary in self.repositories.store.conversations().many(&ids).await? {
            let members: Vec<_> = match summary.kind {
                Kind::Direct => summary.members.iter().map(|user| (*user, 0)).collect(),
                Kind::Group => {
                    let members = self.repositories.store.members().all(summary.id).await?;
                    members.into_iter().map(|member| (member.user, member.joined_seq)).collect()
                }
            };
            self.members += members.len();
            self.known.insert(summary.id, ConversationMembers { summary, members });
        }
        Ok(())
    }

    /// A conversation, if the cache has it.
    pub fn known(&self, id: ConversationId) -> Option<&ConversationMembers> {
        self.known.get(&id)
    }

    /// The users who receive an event, each once.
    pub async fn audience(&mut self, addressed: &AddressedEvent) -> Result<Vec<UserId>> {
        let mut users = addressed.audience.users.clone();
        if let Some(id) = addressed.audience.members {
            if !self.known.contains_key(&id) {
                self.read(vec![id]).await?;
            }
            if let Some(members) = self.known.get(&id) {
                users.extend(concerned(&addressed.event, members));
            }
        }
        if let Some(user) = addressed.audience.friends_of {
            users.extend(
                self.repositories.store.relations().friends_of(user, MAX_FRIENDS_TOLD).await?,
            );
        }
        let mut seen = HashSet::new();
        users.retain(|user| seen.insert(*user));
        Ok(users)
    }

    /// Drops the conversation of an event that changes its members.
    pub fn forget(&mut self, event: &Event) {
        if let Some(conversation) = event.conversation() {
            let gone = self.known.remove(&conversation);
            self.members -= gone.map_or(0, |members| members.members.len());
        }
    }
}

fn concerned<'a>(
    event: &'a Event,
    members: &'a ConversationMembers,
) -> impl Iterator<Item = UserId> + 'a {
    let is_large = members.members.len() > MAX_MEMBERS_TOLD_OF_MARKS;
    members
        .members
        .iter()
        .filter(move |(user, joined)| match event.kind().audience() {
            // A member who was added since finds the message in the history, behind their mark.
            AudienceKind::EarlierMembers => {
                !matches!(event, Event::MessageCreated { message } if *joined >= message.seq)
            }
            AudienceKind::MarkReaders => !is_large || event.subject() == Some(*user),
            AudienceKind::Reader
            | AudienceKind::Members
            | AudienceKind::MembersAndSubject
            | AudienceKind::FormerMembers
            | AudienceKind::SubjectAndFriends => true,
        })
        .map(|(user, _)| *user)
}
