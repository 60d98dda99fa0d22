//! Ids: UUIDs for things (RFC 9562), and a message's place in its conversation.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::clock::random_bytes;

/// The text is not an id of the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid id")]
pub struct InvalidId;

/// The text of RFC 9562 §4: 36 characters, hyphenated, in either case.
fn parse_uuid(text: &str) -> Result<Uuid, InvalidId> {
    let uuid = Uuid::try_parse(text).map_err(|_| InvalidId)?;
    let mut canonical = Uuid::encode_buffer();
    let canonical = uuid.hyphenated().encode_lower(&mut canonical);
    if canonical.eq_ignore_ascii_case(text) { Ok(uuid) } else { Err(InvalidId) }
}

/// The beginning of a SHA-256 as UUID version 8 (RFC 9562 §5.8).
fn hashed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Uuid {
    let mut context = Context::new(&SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
        #[schema(value_type = String, format = "uuid", example = $example)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id (UUID version 4).
            #[must_use]
            pub fn random() -> Self {
                Self(uuid::Builder::from_random_bytes(random_bytes()).into_uuid())
            }

            /// The id of these 16 bytes, as they are stored.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id that follows from these names, the same wherever it is asked for. UUID
            /// version 8 (RFC 9562 §5.8).
            #[must_use]
            pub fn named(names: &[&str]) -> Self {
                Self(hashed(names.iter().flat_map(|name| [name.as_bytes(), b"\0"])))
            }

            /// The 16 bytes that are stored.
            #[must_use]
            pub fn bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_uuid(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// An account.
    UserId, "3f2b8c1e-5d47-4a9e-9c60-1b7e8a2d4f53"
}
uuid_id! {
    /// One signed-in device of an account.
    SessionId, "5a0c7d2e-91b4-4f36-8e57-d3c1b9a60f28"
}
uuid_id! {
    /// A group; its conversation has the same id.
    GroupId, "c4e8f1a2-6b5d-4073-9e2c-8a7f0d3b1c96"
}
uuid_id! {
    /// A conversation, direct or a group's.
    ConversationId, "419e219f-2589-8863-a0e1-0c9bc696139a"
}
uuid_id! {
    /// A background job.
    JobId, "0b9f3d51-64c2-4e87-a1d0-52f7c8e6b934"
}
uuid_id! {
    /// An uploaded file.
    AttachmentId, "7c9e6679-7425-40de-944b-e07fc1f90ae7"
}

impl From<GroupId> for ConversationId {
    fn from(group: GroupId) -> Self {
        Self(group.0)
    }
}

impl ConversationId {
    /// The direct conversation of two users: a hash of both ids, the same whoever asks, so that
    /// it needs no look-up and no two writers can create it twice. UUID version 8 (RFC 9562 §5.8).
    #[must_use]
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self(hashed([b"natter/direct".as_slice(), &low.bytes(), &high.bytes()]))
    }

    /// The group whose conversation this would be.
    #[must_use]
    pub fn as_group(self) -> GroupId {
        GroupId(self.0)
    }
}

/// A message's place: its conversation and its number there, from 1. As text, 32 characters of
/// URL-safe Base64 (RFC 4648 §5) over the 24 bytes of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Where it was sent.
    pub conversation: ConversationId,
    /// Its number in that conversation: 1, 2, 3 … without a gap.
    pub seq: u64,
}

impl MessageId {
    /// The message `seq` of a conversation.
    #[must_use]
    pub fn new(conversation: ConversationId, seq: u64) -> Self {
        Self { conversation, seq }
    }

    /// The 24 bytes of its key: conversation, then the number big-endian, so that the order of
    /// keys is the order of the conversation.
    #[must_use]
    pub fn bytes(self) -> [u8; 24] {
        let mut key = [0; 24];
        key[..16].copy_from_slice(&self.conversation.bytes());
        key[16..].copy_from_slice(&self.seq.to_be_bytes());
        key
    }

    /// Reads a key's 24 bytes.
    #[must_use]
    pub fn from_bytes(key: [u8; 24]) -> Self {
        let mut conversation = [0; 16];
        conversation.copy_from_slice(&key[..16]);
        let mut seq = [0; 8];
        seq.copy_from_slice(&key[16..]);
        Self {
            conversation: ConversationId::from_bytes(conversation),
            seq: u64::from_be_bytes(seq),
        }
    }
}

impl PartialSchema for MessageId {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(Type::String).description(Some("A message."));
        let object = object.pattern(Some("^[A-Za-z0-9_-]{32}$"));
        object.examples(["QZ4hnyWJiGOg4QybxpYTmgAAAAAAAAAH"]).into()
    }
}

impl ToSchema for MessageId {}

impl FromStr for MessageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidId)?;
        bytes.try_into().map(Self::from_bytes).map_err(|_| InvalidId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.bytes()))
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_hyphenated_text_is_an_id() {
        let id = UserId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        let simple = id.to_string().replace('-', "");
        for text in
            ["", "me", "{\"$ne\":null}", &simple, &format!("{{{id}}}"), &format!("urn:uuid:{id}")]
        {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides() {
        let (ada, grace) = (UserId::random(), UserId::random());
        assert_eq!(ConversationId::direct(ada, grace), ConversationId::direct(grace, ada));
        assert_ne!(ConversationId::direct(ada, ada), ConversationId::direct(ada, grace));
    }

    proptest! {
        #[test]
        fn message_ids_keep_their_place(conversation: [u8; 16], seq: u64) {
            let id = MessageId::new(ConversationId::from_bytes(conversation), seq);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 32);
            prop_assert_eq!(text.parse(), Ok(id));
        }

        #[test]
        fn keys_sort_as_numbers_do(conversation: [u8; 16], one: u64, other: u64) {
            let key = |seq| MessageId::new(ConversationId::from_bytes(conversation), seq).bytes();
            prop_assert_eq!(one.cmp(&other), key(one).cmp(&key(other)));
        }

        #[test]
        fn no_other_text_is_a_message_id(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<MessageId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
