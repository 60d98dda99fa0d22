//! What a user is told no more, though it is under way: of conversations that they are out of, and
//! what is new between two of whom one has blocked the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, Room};
use crate::domain::events::{AudienceKind, Envelope, FrameKind, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::realtime::socket::Socket;

/// How long a message may be under way that was let through before a block.
const UNDER_WAY: Duration = Duration::from_mins(1);

/// What came of something until it was over is told no more. What comes after that is told by
/// the log alone, which knows who is in a conversation.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Conversations that the user is out of, and up to where nothing of them is told.
    gone: HashMap<ConversationId, Position>,
    /// Direct conversations with a block.
    apart: HashMap<ConversationId, Apart>,
}

#[derive(Debug)]
struct Apart {
    other: UserId,
    to: Position,
    since: Instant,
}

impl Left {
    /// Whether the user is not to see a frame.
    pub fn hides(&self, user: UserId, envelope: &Envelope) -> bool {
        if self.gone.is_empty() && self.apart.is_empty() {
            return false;
        }
        let Some(conversation) = &envelope.conversation else { return false };
        let until = |to: &Position| envelope.position.is_none_or(|it| it <= *to);
        let is_gone = self.gone.get(conversation).is_some_and(until);
        is_gone && !is_farewell(user, envelope)
            || envelope.kind.stops_at_block()
                && self.apart.get(conversation).is_some_and(|it| until(&it.to))
    }
}

impl Hub {
    /// Nothing more for a user of what a conversation was up to here, but that they are out of it;
    /// their connections, of which each may be sending something.
    pub(in crate::realtime) fn bar(
        &self,
        user: UserId,
        conversation: ConversationId,
        to: Position,
    ) -> Vec<Arc<Socket>> {
        self.leaves(user, |room| {
            room.left.gone.insert(conversation, to);
            room.company.leave(conversation);
        })
    }

    /// Nothing new for a user in the direct conversation with another.
    pub(in crate::realtime) fn part_from(
        &self,
        user: UserId,
        other: UserId,
        to: Position,
    ) -> Vec<Arc<Socket>> {
        let apart = Apart { other, to, since: Instant::now() };
        self.leaves(user, |room| {
            room.left.apart.retain(|_, it| it.since.elapsed() < UNDER_WAY);
            room.left.apart.insert(ConversationId::direct(user, other), apart);
            room.company.part(other);
        })
    }

    fn leaves(&self, user: UserId, change: impl FnOnce(&mut Room)) -> Vec<Arc<Socket>> {
        let mut state = self.state();
        let Some(room) = state.rooms.get_mut(&user) else { return Vec::new() };
        let told = room.complete_to;
        room.left.gone.retain(|_, to| told.is_none_or(|told| *to > told));
        change(room);
        for socket in &room.sockets {
            socket.take_back(|waiting| room.left.hides(user, waiting));
        }
        room.sockets.clone()
    }

    /// With whom there was a block a moment ago, if this is something new from there: the message
    /// may have been let through before the block.
    pub(in crate::realtime) fn parted_from(
        &self,
        user: UserId,
        envelope: &Envelope,
    ) -> Option<UserId> {
        let state = self.state();
        let apart = state.rooms.get(&user)?.left.apart.get(&envelope.conversation?)?;
        let is_stopped = apart.since.elapsed() < UNDER_WAY && envelope.kind.stops_at_block();
        is_stopped.then_some(apart.other)
    }
}

/// Whether the event says that the user, or everyone, is out of the conversation.
fn is_farewell(user: UserId, envelope: &Envelope) -> bool {
    let FrameKind::Event(kind) = envelope.kind else { return false };
    match kind.audience() {
        AudienceKind::FormerMembers => true,
        AudienceKind::MembersAndSubject => envelope.subject == Some(user),
        AudienceKind::Reader
        | AudienceKind::Members
        | AudienceKind::EarlierMembers
        | AudienceKind::MarkReaders
        | AudienceKind::SubjectAndFriends => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::EventKind;

    fn waiting(
        nth: u32,
        conversation: Option<ConversationId>,
        kind: EventKind,
        subject: Option<UserId>,
    ) -> Envelope {
        let (kind, position) = (FrameKind::Event(kind), Some(Position { commit: 1, nth }));
        Envelope { kind, position, conversation, subject, frame: "{}".into() }
    }

    #[test]
    fn who_is_out_is_told_only_that() {
        let (user, other) = (UserId::random(), UserId::random());
        let group = ConversationId::direct(user, other);
        let mut left = Left::default();
        left.gone.insert(group, Position { commit: 1, nth: 5 });
        let said = |nth, group| waiting(nth, group, EventKind::MessageCreated, None);
        let removed = |who| waiting(5, Some(group), EventKind::MemberRemoved, Some(who));
        assert!(left.hides(user, &said(5, Some(group))));
        assert!(left.hides(user, &removed(other)));
        assert!(!left.hides(user, &removed(user)));
        assert!(!left.hides(user, &waiting(5, Some(group), EventKind::GroupDeleted, None)));
        assert!(!left.hides(user, &said(6, Some(group))), "in it again");
        assert!(!left.hides(user, &said(5, None)));
        let mention = waiting(5, Some(group), EventKind::NotificationCreated, None);
        assert!(left.hides(user, &mention));
    }

    #[test]
    fn a_block_hides_what_is_new() {
        let (user, other) = (UserId::random(), UserId::random());
        let direct = ConversationId::direct(user, other);
        let (to, since) = (Position { commit: 1, nth: 5 }, Instant::now());
        let mut left = Left::default();
        left.apart.insert(direct, Apart { other, to, since });
        let hides = |kind| left.hides(user, &waiting(5, Some(direct), kind, None));
        assert!(hides(EventKind::MessageCreated));
        assert!(!hides(EventKind::MessageDeleted));
        assert!(!hides(EventKind::Read));
    }
}
