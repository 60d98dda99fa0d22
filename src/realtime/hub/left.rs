//! What a user is told no more, though it is under way: of conversations that they are out of, and
//! what is new between two of whom one has blocked the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Hub, Room};
use crate::domain::events::Position;
use crate::domain::ids::{ConversationId, UserId};
use crate::realtime::socket::{Socket, Waiting};
use crate::services::frames::head;

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
    pub fn hides(&self, user: UserId, waiting: &Waiting) -> bool {
        if self.gone.is_empty() && self.apart.is_empty() {
            return false;
        }
        let Waiting { position, conversation, frame } = waiting;
        let until = |to: &Position| position.is_none_or(|it| it <= *to);
        let Some(conversation) = conversation else {
            let about = position.and_then(|_| notified_of(frame));
            return about.and_then(|it| self.gone.get(&it)).is_some_and(until);
        };
        self.gone.get(conversation).is_some_and(|to| until(to) && !is_farewell(user, frame))
            || self.apart.get(conversation).is_some_and(|it| until(&it.to) && is_new(frame))
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

    /// With whom there was a block a moment ago, if this frame is something new from there: the
    /// message may have been let through before the block.
    pub(in crate::realtime) fn parted_from(
        &self,
        user: UserId,
        conversation: ConversationId,
        frame: &str,
    ) -> Option<UserId> {
        let state = self.state();
        let apart = state.rooms.get(&user)?.left.apart.get(&conversation)?;
        (apart.since.elapsed() < UNDER_WAY && is_new(frame)).then_some(apart.other)
    }
}

/// The type of a frame of our own.
pub(in crate::realtime) fn kind_of(frame: &str) -> &str {
    head(frame).0
}

/// Whether it says that this very user, or everyone, is out of it.
fn is_farewell(user: UserId, frame: &str) -> bool {
    match kind_of(frame) {
        "group.deleted" => true,
        "group.member_removed" => data_of(frame)["user_id"] == user.to_string(),
        _ => false,
    }
}

/// Whether it is what a block stops.
fn is_new(frame: &str) -> bool {
    ["message.created", "message.updated", "reaction.added", "typing"].contains(&kind_of(frame))
}

/// The conversation that a notification is about.
fn notified_of(frame: &str) -> Option<ConversationId> {
    if kind_of(frame) != "notification.created" {
        return None;
    }
    data_of(frame)["conversation_id"].as_str()?.parse().ok()
}

pub(in crate::realtime) fn data_of(frame: &str) -> Value {
    let mut frame: Value = serde_json::from_str(frame).unwrap_or_default();
    frame["data"].take()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(nth: u32, conversation: Option<ConversationId>, frame: &str) -> Waiting {
        let position = Some(Position { commit: 1, nth });
        Waiting { position, conversation, frame: frame.into() }
    }

    #[test]
    fn who_is_out_is_told_only_that() {
        let (user, other) = (UserId::random(), UserId::random());
        let group = ConversationId::direct(user, other);
        let mut left = Left::default();
        left.gone.insert(group, Position { commit: 1, nth: 5 });
        let removed = |who: UserId| {
            format!(r#"{{"type":"group.member_removed","data":{{"user_id":"{who}"}}}}"#)
        };
        let said = r#"{"type":"message.created","data":{}}"#;
        assert!(left.hides(user, &waiting(5, Some(group), said)));
        assert!(left.hides(user, &waiting(5, Some(group), &removed(other))));
        assert!(!left.hides(user, &waiting(5, Some(group), &removed(user))));
        assert!(!left.hides(user, &waiting(6, Some(group), said)), "in it again");
        assert!(!left.hides(user, &waiting(5, None, said)));
        let mention =
            format!(r#"{{"type":"notification.created","data":{{"conversation_id":"{group}"}}}}"#);
        assert!(left.hides(user, &waiting(5, None, &mention)));
    }

    #[test]
    fn a_block_hides_what_is_new() {
        let (user, other) = (UserId::random(), UserId::random());
        let direct = ConversationId::direct(user, other);
        let (to, since) = (Position { commit: 1, nth: 5 }, Instant::now());
        let mut left = Left::default();
        left.apart.insert(direct, Apart { other, to, since });
        assert!(left.hides(user, &waiting(5, Some(direct), r#"{"type":"message.created"}"#)));
        assert!(!left.hides(user, &waiting(5, Some(direct), r#"{"type":"message.deleted"}"#)));
        assert!(!left.hides(user, &waiting(5, Some(direct), r#"{"type":"conversation.read"}"#)));
    }
}
