//! Every frame, with the schema of its data. Events come from their table in `domain/events.rs`.

use serde_json::{Value, json};

use crate::domain::clock::Timestamp;
use crate::domain::events::{EventKind, FrameKind};
use crate::domain::ids::ConversationId;
use crate::domain::messages::Message;
use crate::routes::openapi::Parts;
use crate::services::frames::data::{
    FriendChange, GroupDeleted, Mark, MemberChange, MemberRemoved, MessageDeleted, Muted,
    NotificationRead, Presence, ProfileChange, ReactionChange, Ready, SessionEnded, Typing,
};
use crate::services::groups::GroupOverview;
use crate::services::notifications::Item;

/// A frame that natter sends.
#[derive(Debug)]
pub(super) struct ServerFrame {
    pub kind: FrameKind,
    /// The description for clients.
    pub says: &'static str,
    data: fn(&mut Parts) -> Value,
}

/// A frame that clients send.
#[derive(Debug)]
pub(super) struct ClientFrame {
    /// Its type.
    pub name: &'static str,
    /// What it says to people.
    pub says: &'static str,
    /// The type of the frame that answers it, if one does.
    pub answer: Option<&'static str>,
    /// Its fields: name, schema, whether it is required.
    fields: fn(&mut Parts) -> Vec<(&'static str, Value, bool)>,
}

/// Every frame that natter sends.
pub(super) fn server() -> Vec<ServerFrame> {
    let frame = |kind, says, data| ServerFrame { kind, says, data };
    let event = |kind: &EventKind| frame(FrameKind::Event(*kind), kind.description(), data(*kind));
    let ready = frame(FrameKind::Ready, "The first frame.", Parts::refer::<Ready>);
    let mut frames = vec![ready];
    frames.extend(EventKind::ALL.iter().map(event));
    let typing = "Someone is typing, for the next six seconds.";
    let ended = "This session has ended; 4401 follows.";
    frames.extend([
        frame(FrameKind::Typing, typing, Parts::refer::<Typing>),
        frame(FrameKind::Presence, "Whether a friend is connected.", Parts::refer::<Presence>),
        frame(FrameKind::SessionEnded, ended, Parts::refer::<SessionEnded>),
        frame(FrameKind::Pong, "The answer to a ping.", |_| json!({"type": "object"})),
    ]);
    frames
}

/// The `data` of an event's frame.
fn data(kind: EventKind) -> fn(&mut Parts) -> Value {
    match kind {
        EventKind::MessageCreated | EventKind::MessageUpdated => Parts::refer::<Message>,
        EventKind::MessageDeleted => Parts::refer::<MessageDeleted>,
        EventKind::ReactionAdded | EventKind::ReactionRemoved => Parts::refer::<ReactionChange>,
        EventKind::Read | EventKind::Delivered => Parts::refer::<Mark>,
        EventKind::Muted => Parts::refer::<Muted>,
        EventKind::FriendRequested | EventKind::FriendAccepted | EventKind::FriendRemoved => {
            Parts::refer::<FriendChange>
        }
        EventKind::GroupCreated | EventKind::GroupUpdated => Parts::refer::<GroupOverview>,
        EventKind::GroupDeleted => Parts::refer::<GroupDeleted>,
        EventKind::MemberAdded | EventKind::MemberUpdated => Parts::refer::<MemberChange>,
        EventKind::MemberRemoved => Parts::refer::<MemberRemoved>,
        EventKind::NotificationCreated => Parts::refer::<Item>,
        EventKind::NotificationRead => Parts::refer::<NotificationRead>,
        EventKind::ProfileUpdated => Parts::refer::<ProfileChange>,
    }
}

pub(super) const CLIENT: &[ClientFrame] = &[
    ClientFrame {
        name: "auth",
        says: "Shows the access token, where no header does; again, with a newer one of the same \
               session, before the first expires.",
        answer: Some("ready"),
        fields: |_| {
            let token = json!({"type": "string", "examples": ["eyJhbGciOiJFUzI1NiJ9.e30.c2ln"]});
            vec![("token", token, true), ("since", since(), false)]
        },
    },
    ClientFrame {
        name: "typing",
        says: "One is typing. The others are told.",
        answer: None,
        fields: |parts| vec![("conversation_id", parts.refer::<ConversationId>(), true)],
    },
    ClientFrame {
        name: "delivered",
        says: "All up to here has come to this device. Past the newest message it is ignored.",
        answer: None,
        fields: |parts| {
            let seq = json!({"type": "integer", "minimum": 0, "examples": [1]});
            vec![("conversation_id", parts.refer::<ConversationId>(), true), ("seq", seq, true)]
        },
    },
    ClientFrame {
        name: "ping",
        says: "Asks for a pong.",
        answer: Some("pong"),
        fields: |_| Vec::new(),
    },
];

/// The last event id that a client has.
pub(super) fn since() -> Value {
    json!({
        "type": ["string", "null"],
        "maxLength": 128,
        "description": "The last id that the client has seen: what came after it follows.",
        "examples": ["6922a1f00000000100000001"],
    })
}

impl ServerFrame {
    /// The schema of all of it.
    pub(super) fn payload(&self, parts: &mut Parts) -> Value {
        let id = match self.kind {
            FrameKind::Ready | FrameKind::Typing | FrameKind::Presence | FrameKind::Pong => {
                json!({"type": "null", "description": "It is no event."})
            }
            FrameKind::Event(_) | FrameKind::SessionEnded => json!({
                "type": "string",
                "maxLength": 128,
                "description": "Its place: the order of ids is the order of delivery.",
                "examples": ["6922a1f00000000100000001"],
            }),
        };
        json!({
            "type": "object",
            "required": ["type", "id", "at", "data"],
            "properties": {
                "type": {"type": "string", "const": self.kind.name()},
                "id": id,
                "at": parts.refer::<Timestamp>(),
                "data": (self.data)(parts),
            },
        })
    }
}

impl ClientFrame {
    /// The schema of all of it.
    pub(super) fn payload(&self, parts: &mut Parts) -> Value {
        let fields = (self.fields)(parts);
        let needed = fields.iter().filter(|(.., required)| *required).map(|(name, ..)| *name);
        let required: Vec<&str> = std::iter::once("type").chain(needed).collect();
        let mut schema = json!({
            "type": "object",
            "required": required,
            "properties": {"type": {"type": "string", "const": self.name}},
        });
        for (name, field, _) in fields {
            schema["properties"][name] = field;
        }
        schema
    }
}
