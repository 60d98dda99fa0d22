//! Every frame there is, in one table; the document and the tests of frames read no other.

use serde_json::{Value, json};

use crate::domain::clock::Timestamp;
use crate::domain::ids::ConversationId;
use crate::domain::messages::Message;
use crate::routes::openapi::Parts;
use crate::services::frames::data::{
    FriendChange, GroupDeleted, Mark, MemberChange, MemberRemoved, MessageDeleted, Muted,
    NotificationRead, Presence, ProfileChange, ReactionChange, Ready, SessionEnded, Typing,
};
use crate::services::groups::GroupOverview;
use crate::services::notifications::Item;

/// What a frame's id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event: it has an id, and the log keeps it.
    Event,
    /// It has an id, and no log keeps it.
    Last,
    /// It has none.
    Passing,
}

/// A frame that natter sends.
#[derive(Debug)]
pub(super) struct ServerFrame {
    /// Its type.
    pub name: &'static str,
    pub kind: Kind,
    /// What it says to people.
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

const fn event(
    name: &'static str,
    says: &'static str,
    data: fn(&mut Parts) -> Value,
) -> ServerFrame {
    ServerFrame { name, kind: Kind::Event, says, data }
}

const fn passing(
    name: &'static str,
    says: &'static str,
    data: fn(&mut Parts) -> Value,
) -> ServerFrame {
    ServerFrame { name, kind: Kind::Passing, says, data }
}

pub(super) const SERVER: &[ServerFrame] = &[
    passing("ready", "The first frame.", Parts::refer::<Ready>),
    event("message.created", "A message was sent.", Parts::refer::<Message>),
    event("message.updated", "It was edited, pinned or unpinned.", Parts::refer::<Message>),
    event("message.deleted", "It was deleted.", Parts::refer::<MessageDeleted>),
    event("reaction.added", "A member reacted.", Parts::refer::<ReactionChange>),
    event("reaction.removed", "A member took that back.", Parts::refer::<ReactionChange>),
    event("conversation.read", "A member has read up to here.", Parts::refer::<Mark>),
    event(
        "conversation.delivered",
        "What was sent up to here has come to a member's devices.",
        Parts::refer::<Mark>,
    ),
    event(
        "conversation.muted",
        "One has muted it, or ended that; to one's own devices.",
        Parts::refer::<Muted>,
    ),
    event("friend.requested", "They ask to be friends.", Parts::refer::<FriendChange>),
    event("friend.accepted", "One is friends with them now.", Parts::refer::<FriendChange>),
    event(
        "friend.removed",
        "The friendship or request with them is over.",
        Parts::refer::<FriendChange>,
    ),
    event("group.created", "A group was made.", Parts::refer::<GroupOverview>),
    event("group.updated", "Its name, picture or owner changed.", Parts::refer::<GroupOverview>),
    event("group.deleted", "It has ended.", Parts::refer::<GroupDeleted>),
    event("group.member_added", "Someone is in it now.", Parts::refer::<MemberChange>),
    event("group.member_updated", "A member has another role.", Parts::refer::<MemberChange>),
    event(
        "group.member_removed",
        "Someone is in it no more; also to them.",
        Parts::refer::<MemberRemoved>,
    ),
    event(
        "notification.created",
        "One is told of something; never of type `message`.",
        Parts::refer::<Item>,
    ),
    event(
        "notification.read",
        "One has marked notifications as read; to one's own devices.",
        Parts::refer::<NotificationRead>,
    ),
    event(
        "profile.updated",
        "One has, or a friend has, another name or picture.",
        Parts::refer::<ProfileChange>,
    ),
    passing("typing", "Someone is typing, for the next six seconds.", Parts::refer::<Typing>),
    passing("presence", "Whether a friend is connected.", Parts::refer::<Presence>),
    ServerFrame {
        name: "session.ended",
        kind: Kind::Last,
        says: "This session has ended; 4401 follows.",
        data: Parts::refer::<SessionEnded>,
    },
    passing("pong", "The answer to a ping.", |_| json!({"type": "object"})),
];

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
            Kind::Passing => json!({"type": "null", "description": "It is no event."}),
            Kind::Event | Kind::Last => json!({
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
                "type": {"type": "string", "const": self.name},
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
