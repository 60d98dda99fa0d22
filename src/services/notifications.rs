//! Notifications: the stored ones and, merged among them, one per conversation with unread
//! messages, derived from its read mark. Nothing is written per member when a message is sent.

mod item;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::item::Item;
use self::waiting::Waiting;
use super::unread::{Unread, UnreadState};
use super::user_directory::UserDirectory;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::notifications::{Notification, NotificationId, NotificationPosition};
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::error::Result;
use crate::store::Repositories;
use crate::store::Tx;

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
    unread: Unread,
    profiles: Arc<UserDirectory>,
    cursors: Cursors,
    clock: Clock,
}

/// Either kind, on its way into a page.
enum Entry {
    Stored(Notification),
    Waiting(Box<Waiting>),
}

impl Notifications {
    /// Those of some stored notifications of a reader that are still there, as they are shown.
    pub async fn some(&self, reader: UserId, ids: &[NotificationId]) -> Result<Vec<Item>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.repositories.store.notifications().some(reader, ids).await?;
        self.shown(reader, found.into_iter().map(Entry::Stored).collect()).await
    }
}

impl Entry {
    fn position(&self, reader: UserId) -> NotificationPosition {
        match self {
            Self::Stored(notification) => {
                NotificationPosition { at: notification.at, id: notification.id }
            }
            Self::Waiting(waiting) => {
                let id = NotificationId::message(reader, waiting.state.summary.id);
                NotificationPosition { at: waiting.last.at, id }
            }
        }
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Stored(notification) => notification.read,
            Self::Waiting(waiting) => waiting.is_dismissed(),
        }
    }
}

/// What waits for a reader in groups.
struct Groups {
    /// All groups that they are in.
    all: HashSet<ConversationId>,
    /// Those in which something waits.
    waiting: Vec<Waiting>,
}

impl Notifications {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: Arc<UserDirectory>,
        cursors: Cursors,
        clock: &Clock,
    ) -> Self {
        let unread = Unread::new(&repositories.store);
        Self { repositories: repositories.clone(), unread, profiles, cursors, clock: clock.clone() }
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
        let groups = self.groups(reader).await?;
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

    async fn groups(&self, reader: UserId) -> Result<Groups> {
        let groups = self.unread.groups(reader).await?;
        let all = groups.iter().map(|state| state.summary.id).collect();
        Ok(Groups { all, waiting: self.waiting_in(reader, groups).await? })
    }

    async fn entries(
        &self,
        reader: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unread_only: bool,
        groups: &Groups,
    ) -> Result<Vec<Entry>> {
        let now = self.clock.now();
        let store = &self.repositories.store;
        let (stored, direct) = tokio::try_join!(
            store.notifications().page(reader, before, count, unread_only),
            self.unread.waiting_direct(reader, before, count, unread_only, now),
        )?;
        let direct = direct.into_iter().filter_map(Waiting::new);
        let waiting =
            direct.chain(groups.waiting.iter().cloned()).map(|one| Entry::Waiting(Box::new(one)));
        // Of a group that they are not in any more, someone may be told in this very moment.
        let is_open = |notification: &Notification| {
            notification.group.is_none_or(|group| groups.all.contains(&group.into()))
        };
        let stored = stored.into_iter().filter(is_open).map(Entry::Stored);
        let mut entries: Vec<Entry> = stored.chain(waiting).collect();
        entries.retain(|entry| {
            let position = entry.position(reader);
            before.is_none_or(|before| position < before) && !(unread_only && entry.is_read())
        });
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.position(reader)));
        entries.truncate(count);
        Ok(entries)
    }

    async fn unread_count(&self, reader: UserId, groups: &Groups) -> Result<u64> {
        let (stored, direct) = tokio::try_join!(
            self.repositories.store.notifications().unread_count(reader),
            self.repositories.store.members().count_waiting(reader, self.clock.now()),
        )?;
        let unread = groups.waiting.iter().filter(|waiting| !waiting.is_dismissed());
        Ok(stored + direct + unread.count() as u64)
    }

    /// Marks notifications as read and says how many are left. One about messages stays read
    /// until the next message; its conversation stays unread.
    pub async fn mark_read(&self, reader: UserId, which: Which) -> Result<u64> {
        let store = &self.repositories.store;
        let now = self.clock.now();
        match which {
            Which::All => {
                let groups = self.unread.groups(reader).await?;
                let undismissed: Vec<Undismissed> = groups.iter().filter_map(undismissed).collect();
                // Those that wait come first: whoever is told, or answered, finds them read.
                store.members().dismiss_direct(reader).await?;
                store.members().dismiss(reader, &undismissed).await?;
                store.transact(async move |tx| read_all(tx, reader, now).await).await?;
            }
            Which::Some(ids) => {
                let mut waiting = Vec::new();
                let own = ids.iter().filter(|id| id.user() == reader);
                for conversation in own.filter_map(|id| id.conversation()) {
                    let found = self.unread.of(conversation, reader).await?;
                    waiting.extend(found.as_ref().and_then(undismissed));
                }
                let read = async move |tx: &mut Tx| read(tx, reader, &ids, &waiting, now).await;
                store.transact(read).await?;
            }
        }
        self.unread_of(reader).await
    }

    /// How many notifications of a reader are unread.
    pub async fn unread_of(&self, reader: UserId) -> Result<u64> {
        let groups = self.groups(reader).await?;
        self.unread_count(reader, &groups).await
    }
}

/// Marks some of a reader's notifications as read, and tells their devices of those that were not;
/// `waiting` are those of conversations among them that were not.
async fn read(
    tx: &mut Tx,
    reader: UserId,
    ids: &[NotificationId],
    waiting: &[Undismissed],
    at: Timestamp,
) -> Result<()> {
    let mut unread = tx.notifications().unread_of(reader, ids).await?;
    if !unread.is_empty() {
        tx.notifications().read(reader, ids).await?;
    }
    tx.members().dismiss(reader, waiting).await?;
    unread.extend(waiting.iter().map(|(it, _)| NotificationId::message(reader, *it)));
    if unread.is_empty() {
        return Ok(());
    }
    let ids = ids.iter().copied().filter(|id| unread.remove(id)).collect();
    let event = Event::NotificationRead { ids, all: false };
    tx.events().add([AddressedEvent::for_users([reader], event)], at).await
}

/// Marks all stored notifications of a reader as read, and tells their devices.
async fn read_all(tx: &mut Tx, reader: UserId, at: Timestamp) -> Result<()> {
    tx.notifications().read_all(reader).await?;
    let event = Event::NotificationRead { ids: Vec::new(), all: true };
    tx.events().add([AddressedEvent::for_users([reader], event)], at).await
}

/// A conversation whose notification was not dismissed, and the message that it is about.
type Undismissed = (ConversationId, u64);

/// `None` where the notification was dismissed, or nothing waits.
fn undismissed(state: &UnreadState) -> Option<Undismissed> {
    let last = state.waiting().filter(|last| state.membership.dismissed_seq < last.seq)?;
    Some((state.summary.id, last.seq))
}
