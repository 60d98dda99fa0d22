//! Frames with what they are, so that no part of natter parses a frame to learn that.

use std::sync::Arc;

use super::{EventKind, Position};
use crate::domain::ids::{ConversationId, UserId};

/// The JSON text that clients receive, shared by all connections that receive the same.
pub type Frame = Arc<str>;

/// The type of a frame that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The first frame of a connection.
    Ready,
    /// An event, which logs keep.
    Event(EventKind),
    /// A member of a conversation is typing.
    Typing,
    /// A friend came online or went offline.
    Presence,
    /// The last frame of a connection whose session ended.
    SessionEnded,
    /// The answer to a ping.
    Pong,
}

impl FrameKind {
    /// The `type` of the frame.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Event(kind) => kind.name(),
            Self::Typing => "typing",
            Self::Presence => "presence",
            Self::SessionEnded => "session.ended",
            Self::Pong => "pong",
        }
    }

    /// Whether a block between the two members of a direct conversation stops the frame.
    pub fn stops_at_block(self) -> bool {
        match self {
            Self::Event(kind) => kind.stops_at_block(),
            Self::Typing => true,
            Self::Ready | Self::Presence | Self::SessionEnded | Self::Pong => false,
        }
    }
}

/// A frame with what the bus, the hub and the connections must know about it. On the bus the frame
/// may be missing: an instance fetches the frame of an event with a large audience once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<F = Frame> {
    /// The type of the frame.
    pub kind: FrameKind,
    /// The position that the frame has as its id; `None` for frames without an id.
    pub position: Option<Position>,
    /// The conversation that the frame belongs to, or that its notification is about.
    pub conversation: Option<ConversationId>,
    /// The user that the event is [about](super::Event::subject).
    pub subject: Option<UserId>,
    /// The frame.
    pub frame: F,
}

impl Envelope {
    /// A frame that no log keeps.
    pub fn unlogged(kind: FrameKind, conversation: Option<ConversationId>, frame: Frame) -> Self {
        Self { kind, position: None, conversation, subject: None, frame }
    }
}

impl<F> Envelope<F> {
    /// The same with another frame.
    pub fn with_frame<G>(self, frame: G) -> Envelope<G> {
        let Self { kind, position, conversation, subject, frame: _ } = self;
        Envelope { kind, position, conversation, subject, frame }
    }
}
