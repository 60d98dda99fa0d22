//! Row modules, one for each collection that has one: its rows, their keys and what is done with
//! them. A row module decides nothing: what may be, a service says. Where other modules still open
//! the same collection, they are to move here (docs/decisions/0031).

pub mod attachment_uses;
pub mod attachments;
pub mod conversations;
pub mod deletions;
pub mod devices;
pub mod events;
pub mod groups;
pub mod held_names;
pub mod jobs;
pub mod lockouts;
pub mod members;
pub mod message_keys;
pub mod notifications;
pub mod outbox;
pub mod rate_windows;
pub mod reactions;
pub mod relations;
pub mod sends;
pub mod sessions;
pub mod tokens;
pub mod unindexed;
pub mod users;

use self::events::Events;
use self::jobs::Jobs;
use self::jobs::queue::Queue;
use super::{Collection, Store, Tx};

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $Rows:ident;)*) => {
        $(use self::$name::$Rows;)*

        /// Rows as they are now; each command runs by itself.
        impl Store {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $Rows<'_> {
                $Rows::new(self.table(stringify!($name)))
            })*
        }

        /// Rows as this transaction sees and changes them.
        impl Tx {
            $($(#[$doc])*
            pub fn $name(&mut self) -> $Rows<'_> {
                $Rows::new(self.table(stringify!($name)))
            })*
        }
    };
}

rows! {
    /// Where files are used.
    attachment_uses: AttachmentUses;
    /// Files, without their bytes.
    attachments: Attachments;
    /// Conversations.
    conversations: Conversations;
    /// Deleted messages.
    deletions: Deletions;
    /// Devices that accounts signed in from.
    devices: Devices;
    /// Groups.
    groups: Groups;
    /// Names that were given up.
    held_names: HeldNames;
    /// Wrong passwords in a row.
    lockouts: Lockouts;
    /// Members of conversations.
    members: Members;
    /// Idempotency keys of messages.
    message_keys: MessageKeys;
    /// Notifications that are stored.
    notifications: Notifications;
    /// Mails that an earlier natter has queued.
    outbox: Outbox;
    /// Moments that count towards limits over hours and days.
    rate_windows: RateWindows;
    /// Reactions to messages.
    reactions: Reactions;
    /// Friendships, requests and blocks.
    relations: Relations;
    /// Messages by their sender.
    sends: Sends;
    /// Signed-in devices.
    sessions: Sessions;
    /// Tokens of mailed links.
    tokens: Tokens;
    /// Changes of messages that search has yet to take up.
    unindexed: Unindexed;
    /// Accounts.
    users: Users;
}

/// Collections that other modules read and write, past the row modules: a population, active
/// sessions, keys of addresses.
macro_rules! populated {
    ($($name:ident: $Rows:ident;)*) => {
        $(impl $Rows<'_> {
            pub(in crate::store) fn collection<R: Send + Sync>(store: &Store) -> Collection<R> {
                store.collection(stringify!($name))
            }
        })*
    };
}

populated! {
    conversations: Conversations;
    groups: Groups;
    members: Members;
    notifications: Notifications;
    relations: Relations;
    sends: Sends;
    sessions: Sessions;
    tokens: Tokens;
    users: Users;
}

impl Tx {
    /// Events. Only a transaction can write them: the stream of events passes over all else.
    pub fn events(&mut self) -> Events<'_> {
        Events::new(self.table(events::NAME))
    }

    /// Background jobs: to enqueue some, which wakes their workers after the commit.
    pub fn jobs(&mut self) -> Queue<'_> {
        Queue::new(self)
    }
}

impl Store {
    /// Background jobs.
    #[must_use]
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs::new(self.table(jobs::NAME))
    }
}
