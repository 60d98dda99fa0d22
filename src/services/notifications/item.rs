//! A notification as its reader sees it.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::waiting::Waiting;
use super::{Entry, Notifications};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Kind;
use crate::domain::graphemes;
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::StoredMessage;
use crate::domain::notifications::{NotificationId, NotificationKind, NotificationPosition};
use crate::domain::users::PublicUser;
use crate::error::Result;

/// How many characters of a message its notification shows at most, cut between graphemes.
const PREVIEW: usize = 140;

/// A notification as its reader sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Notification, example = json!({"type": "friend_request"}))]
pub struct Item {
    /// Opaque and stable.
    pub id: NotificationId,
    /// What it tells of.
    pub r#type: NotificationKind,
    /// Whether its reader has seen it.
    pub read: bool,
    /// Who did it.
    pub actor: Option<PublicUser>,
    /// The conversation it is about.
    pub conversation_id: Option<ConversationId>,
    /// The group it is about.
    pub group_id: Option<GroupId>,
    /// Of unread messages, the last.
    pub message_id: Option<MessageId>,
    /// Of unread messages, how many.
    pub unread_count: Option<u64>,
    /// Of unread messages, how the last begins.
    pub preview: Option<String>,
    /// When it happened.
    pub created_at: Timestamp,
}

impl Notifications {
    pub(super) async fn shown(&self, reader: UserId, entries: Vec<Entry>) -> Result<Vec<Item>> {
        let mut actors = HashSet::new();
        let mut messages = Vec::new();
        for entry in &entries {
            match entry {
                Entry::Stored(notification) => {
                    actors.insert(notification.actor);
                    messages.extend(notification.message);
                }
                Entry::Waiting(waiting) => {
                    actors.insert(waiting.last.sender);
                    messages.push(waiting.message());
                }
            }
        }
        let actors: Vec<UserId> = actors.into_iter().collect();
        let (people, messages) = tokio::try_join!(
            self.profiles.many(&actors),
            self.repositories.messages.many(&messages),
        )?;
        let previews: HashMap<MessageId, String> =
            messages.iter().map(|message| (message.id, preview(message))).collect();
        let items = entries.into_iter().map(|entry| item(reader, &entry, &people, &previews));
        Ok(items.collect())
    }
}

fn item(
    reader: UserId,
    entry: &Entry,
    people: &HashMap<UserId, PublicUser>,
    previews: &HashMap<MessageId, String>,
) -> Item {
    let NotificationPosition { at, id } = entry.position(reader);
    let (kind, actor, group_id, message, unread_count) = match entry {
        Entry::Stored(told) => (told.kind, told.actor, told.group, told.message, None),
        Entry::Waiting(waiting) => {
            let Waiting { state, last } = &**waiting;
            let is_group = state.summary.kind == Kind::Group;
            let group = is_group.then(|| state.summary.id.as_group());
            let message = Some(waiting.message());
            (NotificationKind::Message, last.sender, group, message, Some(state.unread_count))
        }
    };
    let conversation = message.map(|message| message.conversation);
    Item {
        id,
        r#type: kind,
        read: entry.is_read(),
        actor: people.get(&actor).cloned(),
        conversation_id: conversation.or(group_id.map(Into::into)),
        group_id,
        message_id: message,
        unread_count,
        preview: message.and_then(|message| previews.get(&message).cloned()),
        created_at: at,
    }
}

/// How a message begins; of one without text, its first file's name.
fn preview(message: &StoredMessage) -> String {
    match message.attachments.first() {
        Some(file) if message.text.is_empty() => file.filename.clone(),
        _ => graphemes::chars(&message.text, PREVIEW).to_owned(),
    }
}
