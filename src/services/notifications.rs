//! Notifications: the stored ones and, merged among them, one per conversation with unread
//! messages, derived from its read mark. Nothing is written per member when a message is sent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::profiles::Profiles;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, LastMessage};
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::StoredMessage;
use crate::domain::notifications::{
    Notification, NotificationId, NotificationKind, NotificationPosition,
};
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::users::PublicUser;
use crate::error::Result;
use crate::repositories::Repositories;
use crate::repositories::marks::Marks;

/// How many characters of a message its notification shows.
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

/// A page of notifications and how many are unread in all.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = NotificationPage)]
pub struct Inbox {
    /// Newest first.
    pub items: Vec<Item>,
    /// How many notifications are unread, on all pages.
    #[schema(example = 1)]
    pub unread_count: u64,
    /// What to pass as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// Which notifications to mark as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These; others' and unknown ones are passed over.
    Some(Vec<NotificationId>),
    /// All there are now.
    All,
}

/// The rules of notifications.
#[derive(Debug)]
pub struct Notifications {
    repositories: Repositories,
    profiles: Arc<Profiles>,
    cursors: Cursors,
}

/// Either kind, on its way into a page.
enum Entry {
    Stored(Notification),
    Waiting(Marks, LastMessage),
}

impl Entry {
    fn position(&self, reader: UserId) -> NotificationPosition {
        match self {
            Self::Stored(notification) => {
                NotificationPosition { at: notification.at, id: notification.id }
            }
            Self::Waiting(marks, last) => {
                let id = NotificationId::message(reader, marks.summary.id);
                NotificationPosition { at: last.at, id }
            }
        }
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Stored(notification) => notification.read,
            Self::Waiting(marks, last) => marks.noticed_seq >= last.seq,
        }
    }
}

impl Notifications {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories, profiles: Arc<Profiles>, cursors: Cursors) -> Self {
        Self { repositories: repositories.clone(), profiles, cursors }
    }

    /// A page of a user's notifications.
    ///
    /// # Errors
    /// `invalid_cursor`; or the store is away.
    pub async fn page(
        &self,
        reader: UserId,
        unread_only: bool,
        cursor: Option<&str>,
        limit: Limit,
    ) -> Result<Inbox> {
        let list = if unread_only { "notifications/unread" } else { "notifications" };
        let scope = ListScope { list, reader };
        let before: Option<NotificationPosition> = self.cursors.resume(scope, cursor)?;
        let groups = self.repositories.marks.groups(reader).await?;
        let entries = self.entries(reader, before, limit.get() + 1, unread_only, &groups).await?;
        let unread_count = if before.is_none() && entries.len() <= limit.get() {
            // These are all there are.
            entries.iter().filter(|entry| !entry.is_read()).count() as u64
        } else {
            self.unread_count(reader, &groups).await?
        };
        let page = self.cursors.page(scope, limit, entries, |entry| entry.position(reader));
        let Page { items, next_cursor } = page;
        Ok(Inbox { items: self.shown(reader, items).await?, unread_count, next_cursor })
    }

    async fn entries(
        &self,
        reader: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unread_only: bool,
        groups: &[Marks],
    ) -> Result<Vec<Entry>> {
        let (stored, direct) = tokio::try_join!(
            self.repositories.notifications.page(reader, before, count, unread_only),
            self.repositories.marks.waiting(reader, before, count, unread_only),
        )?;
        let waiting = direct.into_iter().chain(groups.iter().cloned()).filter_map(|marks| {
            let last = marks.waiting_for(reader)?;
            Some(Entry::Waiting(marks, last))
        });
        let mut entries: Vec<Entry> =
            stored.into_iter().map(Entry::Stored).chain(waiting).collect();
        entries.retain(|entry| {
            let position = entry.position(reader);
            before.is_none_or(|before| position < before) && !(unread_only && entry.is_read())
        });
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.position(reader)));
        entries.truncate(count);
        Ok(entries)
    }

    async fn unread_count(&self, reader: UserId, groups: &[Marks]) -> Result<u64> {
        let (stored, direct) = tokio::try_join!(
            self.repositories.notifications.unread_count(reader),
            self.repositories.marks.count_waiting(reader),
        )?;
        let unread = |marks: &Marks| {
            marks.waiting_for(reader).is_some_and(|last| marks.noticed_seq < last.seq)
        };
        Ok(stored + direct + groups.iter().filter(|marks| unread(marks)).count() as u64)
    }

    async fn shown(&self, reader: UserId, entries: Vec<Entry>) -> Result<Vec<Item>> {
        let mut actors = HashSet::new();
        let mut lasts = Vec::new();
        for entry in &entries {
            match entry {
                Entry::Stored(notification) => {
                    actors.insert(notification.actor);
                }
                Entry::Waiting(marks, last) => {
                    actors.insert(last.sender);
                    lasts.push(MessageId::new(marks.summary.id, last.seq));
                }
            }
        }
        let actors: Vec<UserId> = actors.into_iter().collect();
        let (people, messages) = tokio::try_join!(
            self.profiles.many(&actors),
            self.repositories.messages.many(&lasts),
        )?;
        let previews: HashMap<MessageId, String> =
            messages.iter().map(|message| (message.id, preview(message))).collect();
        let items = entries.into_iter().map(|entry| item(reader, &entry, &people, &previews));
        Ok(items.collect())
    }

    /// Marks notifications as read and says how many are left. One about messages stays read
    /// until the next message; its conversation stays unread.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn mark_read(&self, reader: UserId, which: Which) -> Result<u64> {
        let Repositories { notifications, marks, .. } = &self.repositories;
        match which {
            Which::All => {
                notifications.mark_all_read(reader).await?;
                marks.notice_all_direct(reader).await?;
                for group in marks.groups(reader).await? {
                    self.notice(reader, &group).await?;
                }
            }
            Which::Some(ids) => {
                notifications.mark_read(reader, &ids).await?;
                let own = ids.iter().filter(|id| id.user() == reader);
                for conversation in own.filter_map(|id| id.conversation()) {
                    if let Some(found) = marks.of(conversation, reader).await? {
                        self.notice(reader, &found).await?;
                    }
                }
            }
        }
        let groups = marks.groups(reader).await?;
        self.unread_count(reader, &groups).await
    }

    async fn notice(&self, reader: UserId, marks: &Marks) -> Result<()> {
        match marks.waiting_for(reader) {
            Some(last) if marks.noticed_seq < last.seq => {
                self.repositories.marks.notice(marks.summary.id, reader, last.seq).await
            }
            _ => Ok(()),
        }
    }
}

fn item(
    reader: UserId,
    entry: &Entry,
    people: &HashMap<UserId, PublicUser>,
    previews: &HashMap<MessageId, String>,
) -> Item {
    let NotificationPosition { at, id } = entry.position(reader);
    let item = Item {
        id,
        r#type: NotificationKind::Message,
        read: entry.is_read(),
        actor: None,
        conversation_id: None,
        group_id: None,
        message_id: None,
        unread_count: None,
        preview: None,
        created_at: at,
    };
    match entry {
        Entry::Stored(notification) => Item {
            r#type: notification.kind,
            actor: people.get(&notification.actor).cloned(),
            conversation_id: notification.group.map(Into::into),
            group_id: notification.group,
            ..item
        },
        Entry::Waiting(marks, last) => {
            let conversation = marks.summary.id;
            let message = MessageId::new(conversation, last.seq);
            let is_group = marks.summary.kind == Kind::Group;
            Item {
                actor: people.get(&last.sender).cloned(),
                conversation_id: Some(conversation),
                group_id: is_group.then(|| conversation.as_group()),
                message_id: Some(message),
                unread_count: Some(marks.unread_count),
                preview: previews.get(&message).cloned(),
                ..item
            }
        }
    }
}

/// How a message begins; of one without text, its first file's name.
fn preview(message: &StoredMessage) -> String {
    match message.attachments.first() {
        Some(file) if message.text.is_empty() => file.filename.clone(),
        _ => message.text.chars().take(PREVIEW).collect(),
    }
}
