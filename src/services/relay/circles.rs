//! Who is in the conversations that events are of, as the relay knows. It sees everyone come and
//! go in the order in which that happens, and forgets a conversation then.

use std::collections::{HashMap, HashSet};

use crate::domain::conversations::Kind;
use crate::domain::events::{AddressedEvent, AudienceKind, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::Repositories;
use crate::repositories::events::stream::SequencedEvent;
use crate::services::frames::Circle;

/// Members of conversations known at most; past that all are forgotten.
const MOST: usize = 500_000;

/// Friends who are told of one change of a profile, those of the latest friendships: what one change
/// makes natter write is bounded, as a group's size bounds it for a message.
const FRIENDS_TOLD: usize = 5_000;

/// Above this many members, how far each of them is concerns only themselves: a thousand marks for
/// each message, each told to a thousand, would be a million.
const TELLS_MARKS: usize = 100;

#[derive(Debug)]
pub(super) struct Circles {
    repositories: Repositories,
    known: HashMap<ConversationId, Circle>,
    members: usize,
}

impl Circles {
    pub fn new(repositories: &Repositories) -> Self {
        Self { repositories: repositories.clone(), known: HashMap::new(), members: 0 }
    }

    /// Reads the conversations of these events that are not known yet, together.
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
        if self.members > MOST {
            (self.known, self.members) = Default::default();
        }
        for summary in self.repositories.conversations.many(&ids).await? {
            let members: Vec<_> = match summary.kind {
                Kind::Direct => summary.members.iter().map(|user| (*user, 0)).collect(),
                Kind::Group => {
                    let members = self.repositories.store.members().all(summary.id).await?;
                    members.into_iter().map(|member| (member.user, member.joined_seq)).collect()
                }
            };
            self.members += members.len();
            self.known.insert(summary.id, Circle { summary, members });
        }
        Ok(())
    }

    /// A conversation, if it is known and still there.
    pub fn known(&self, id: ConversationId) -> Option<&Circle> {
        self.known.get(&id)
    }

    /// Whom something concerns, each once.
    pub async fn audience(&mut self, addressed: &AddressedEvent) -> Result<Vec<UserId>> {
        let mut users = addressed.audience.users.clone();
        if let Some(id) = addressed.audience.members {
            if !self.known.contains_key(&id) {
                self.read(vec![id]).await?;
            }
            if let Some(circle) = self.known.get(&id) {
                users.extend(concerned(&addressed.event, circle));
            }
        }
        if let Some(user) = addressed.audience.friends_of {
            users.extend(self.repositories.store.relations().friends_of(user, FRIENDS_TOLD).await?);
        }
        let mut seen = HashSet::new();
        users.retain(|user| seen.insert(*user));
        Ok(users)
    }

    /// Others are in this event's conversation from now on.
    pub fn forget(&mut self, event: &Event) {
        if let Some(conversation) = event.conversation() {
            let gone = self.known.remove(&conversation);
            self.members -= gone.map_or(0, |circle| circle.members.len());
        }
    }
}

fn concerned<'a>(event: &'a Event, circle: &'a Circle) -> impl Iterator<Item = UserId> + 'a {
    let is_large = circle.members.len() > TELLS_MARKS;
    circle
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
