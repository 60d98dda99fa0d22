//! Withholds events in flight after a revocation: of conversations that a user left, and new ones
//! between two users with a block.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, UserConnections};
use crate::domain::events::{AudienceKind, Envelope, FrameKind, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::realtime::socket::Socket;

/// For how long a message may be in flight that was sent before a block.
const IN_FLIGHT_FOR: Duration = Duration::from_mins(1);

/// The revocations of a user. They cover events up to a position; the audience of later events is
/// right already, because the relay reads it from the store.
#[derive(Debug, Default)]
pub(super) struct VisibilityFilter {
    /// Conversations that the user left, each with the last position to withhold.
    revoked: HashMap<ConversationId, Position>,
    /// Direct conversations with a block.
    blocked: HashMap<ConversationId, Block>,
}

#[derive(Debug)]
struct Block {
    other: UserId,
    to: Position,
    since: Instant,
}

impl VisibilityFilter {
    /// Whether the user may not see a frame.
    pub fn hides(&self, user: UserId, envelope: &Envelope) -> bool {
        if self.revoked.is_empty() && self.blocked.is_empty() {
            return false;
        }
        let Some(conversation) = &envelope.conversation else { return false };
        let until = |to: &Position| envelope.position.is_none_or(|it| it <= *to);
        let is_revoked = self.revoked.get(conversation).is_some_and(until);
        is_revoked && !is_farewell(user, envelope)
            || envelope.kind.stops_at_block()
                && self.blocked.get(conversation).is_some_and(|it| until(&it.to))
    }
}

impl Hub {
    /// Withholds the events of a conversation up to `to`, except the one that says that the user is out.
    /// Returns the connections of the user, which may still send frames that they have taken.
    pub(in crate::realtime) fn revoke(
        &self,
        user: UserId,
        conversation: ConversationId,
        to: Position,
    ) -> Vec<Arc<Socket>> {
        self.filter(user, |connections| {
            connections.filter.revoked.insert(conversation, to);
            connections.friends.leave(conversation);
        })
    }

    /// Withholds new events up to `to` in the direct conversation with another user.
    pub(in crate::realtime) fn revoke_pair(
        &self,
        user: UserId,
        other: UserId,
        to: Position,
    ) -> Vec<Arc<Socket>> {
        let blocked = Block { other, to, since: Instant::now() };
        self.filter(user, |connections| {
            connections.filter.blocked.retain(|_, it| it.since.elapsed() < IN_FLIGHT_FOR);
            connections.filter.blocked.insert(ConversationId::direct(user, other), blocked);
            connections.friends.part(other);
        })
    }

    fn filter(&self, user: UserId, change: impl FnOnce(&mut UserConnections)) -> Vec<Arc<Socket>> {
        let mut state = self.state();
        let Some(connections) = state.users.get_mut(&user) else { return Vec::new() };
        let told = connections.complete_to;
        connections.filter.revoked.retain(|_, to| told.is_none_or(|told| *to > told));
        change(connections);
        for socket in &connections.sockets {
            socket.take_back(|waiting| connections.filter.hides(user, waiting));
        }
        connections.sockets.clone()
    }

    /// The other user of a recent block that stops this event: the message may have been sent before
    /// the block.
    pub(in crate::realtime) fn recent_block(
        &self,
        user: UserId,
        envelope: &Envelope,
    ) -> Option<UserId> {
        let state = self.state();
        let blocked = state.users.get(&user)?.filter.blocked.get(&envelope.conversation?)?;
        let is_stopped = blocked.since.elapsed() < IN_FLIGHT_FOR && envelope.kind.stops_at_block();
        is_stopped.then_some(blocked.other)
    }
}

/// Whether the event says that the user, or every member, is out of the conversation.
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
        let mut filter = VisibilityFilter::default();
        filter.revoked.insert(group, Position { commit: 1, nth: 5 });
        let said = |nth, group| waiting(nth, group, EventKind::MessageCreated, None);
        let removed = |who| waiting(5, Some(group), EventKind::MemberRemoved, Some(who));
        assert!(filter.hides(user, &said(5, Some(group))));
        assert!(filter.hides(user, &removed(other)));
        assert!(!filter.hides(user, &removed(user)));
        assert!(!filter.hides(user, &waiting(5, Some(group), EventKind::GroupDeleted, None)));
        assert!(!filter.hides(user, &said(6, Some(group))), "in it again");
        assert!(!filter.hides(user, &said(5, None)));
        let mention = waiting(5, Some(group), EventKind::NotificationCreated, None);
        assert!(filter.hides(user, &mention));
    }

    #[test]
    fn a_block_hides_what_is_new() {
        let (user, other) = (UserId::random(), UserId::random());
        let direct = ConversationId::direct(user, other);
        let (to, since) = (Position { commit: 1, nth: 5 }, Instant::now());
        let mut filter = VisibilityFilter::default();
        filter.blocked.insert(direct, Block { other, to, since });
        let hides = |kind| filter.hides(user, &waiting(5, Some(direct), kind, None));
        assert!(hides(EventKind::MessageCreated));
        assert!(!hides(EventKind::MessageDeleted));
        assert!(!hides(EventKind::Read));
    }
}
