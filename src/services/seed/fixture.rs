//! A fixture: people, friendships, groups, files and conversations, as its JSON files tell them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::reference::{AttachmentRef, ConversationRef, GroupRef, UserRef};
use crate::domain::ids::UserId;
use crate::domain::relations::RelationStatus;
use crate::domain::text::{Email, GroupName, MessageText, Password, Username};

/// What is wrong with a fixture: one line that names the file and the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fixture {fixture}: {place}: {problem}")]
pub struct FixtureError {
    /// Name of the fixture.
    pub fixture: String,
    /// File and entry: `users.json, $user:ada`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// An account, verified.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    /// Its reference.
    pub id: UserRef,
    /// Its name.
    #[serde(deserialize_with = "username")]
    pub username: Username,
    /// Its address.
    #[serde(deserialize_with = "email")]
    pub email: Email,
    /// Its password, in plain: fixtures are for trying things out.
    #[serde(deserialize_with = "password")]
    pub password: Password,
    /// Its picture, uploaded by itself.
    #[serde(default)]
    pub picture: Option<AttachmentRef>,
}

/// A file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentEntry {
    /// Its reference.
    pub id: AttachmentRef,
    /// Whose it is.
    pub uploader: UserRef,
    /// Its name in the fixture's directory `files`.
    pub file: String,
    /// What its uploader calls it.
    pub filename: String,
}

/// A friendship, or a request for one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FriendshipEntry {
    /// Who asked.
    pub from: UserRef,
    /// Who was asked.
    pub to: UserRef,
    /// Whether they accepted.
    pub status: RelationStatus,
}

/// A group.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupEntry {
    /// Its reference.
    pub id: GroupRef,
    /// What it is called.
    #[serde(deserialize_with = "group_name")]
    pub group_name: GroupName,
    /// Its picture, uploaded by its owner.
    #[serde(default)]
    pub picture: Option<AttachmentRef>,
    /// Who made it.
    pub owner: UserRef,
    /// Its admins.
    #[serde(default)]
    pub admins: Vec<UserRef>,
    /// All others in it.
    #[serde(default)]
    pub members: Vec<UserRef>,
}

impl GroupEntry {
    /// Everyone in it, its owner first.
    pub fn everyone(&self) -> impl Iterator<Item = &UserRef> {
        std::iter::once(&self.owner).chain(&self.admins).chain(&self.members)
    }
}

/// A conversation and its messages, the first first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationEntry {
    /// Its reference.
    pub id: ConversationRef,
    /// The two of a direct conversation, the same twice for notes to oneself.
    #[serde(default)]
    pub between: Option<[UserRef; 2]>,
    /// The group whose conversation it is.
    #[serde(default)]
    pub group: Option<GroupRef>,
    /// What is said, in this order.
    pub messages: Vec<MessageEntry>,
}

impl ConversationEntry {
    /// The name under which the `n`th message, counted from 1, is sent exactly once.
    #[must_use]
    pub fn client_message_id(&self, fixture: &str, n: usize) -> String {
        format!("seed:{fixture}:{}:{n}", self.id.name())
    }
}

/// A message.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawMessage")]
pub struct MessageEntry {
    /// Who says it.
    pub from: UserRef,
    /// What they say.
    pub text: MessageText,
    /// The message of this conversation that it answers, counted from 1.
    pub reply_to: Option<usize>,
    /// The sender's own files.
    pub attachments: Vec<AttachmentRef>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMessage {
    from: UserRef,
    text: String,
    #[serde(default)]
    reply_to: Option<usize>,
    #[serde(default)]
    attachments: Vec<AttachmentRef>,
}

impl TryFrom<RawMessage> for MessageEntry {
    type Error = String;

    fn try_from(raw: RawMessage) -> Result<Self, String> {
        let RawMessage { from, text, reply_to, attachments } = raw;
        let text = MessageText::parse(&text, !attachments.is_empty())
            .map_err(|violation| format!("text: {}", violation.message))?;
        Ok(Self { from, text, reply_to, attachments })
    }
}

macro_rules! parsed {
    ($($name:ident -> $type:ident),*) => {$(
        fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            let text = String::deserialize(deserializer)?;
            $type::parse(&text).map_err(|violation| serde::de::Error::custom(violation.message))
        }
    )*};
}
parsed!(username -> Username, email -> Email, password -> Password, group_name -> GroupName);

/// A fixture whose references all lead somewhere.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// What it is called; part of every id.
    pub name: String,
    /// `users.json`
    pub users: Vec<UserEntry>,
    /// `attachments.json`
    pub attachments: Vec<AttachmentEntry>,
    /// `friendships.json`
    pub friendships: Vec<FriendshipEntry>,
    /// `groups.json`
    pub groups: Vec<GroupEntry>,
    /// `conversations.json`
    pub conversations: Vec<ConversationEntry>,
    /// The bytes of `files/`, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    /// The ids of its accounts.
    #[must_use]
    pub fn accounts(&self) -> Vec<UserId> {
        self.users.iter().map(|user| user.id.id(&self.name)).collect()
    }
}

/// Where something is wrong, and what.
pub(super) type Problem = (String, String);
