//! Row modules, one for each collection that has one: its rows, their keys and what is done with
//! them. A row module decides nothing: what may be, a service says. Where other modules still open
//! the same collection, they are to move here (docs/decisions/0031).

pub mod events;
pub mod jobs;

use self::events::Events;
use self::jobs::Jobs;
use self::jobs::queue::Queue;
use super::store::{Collection, Store, Tx};

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $Rows:ident;)*) => {
        $(pub mod $name;)*
        $(use $name::$Rows;)*

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
    /// Conversations.
    conversations: Conversations;
    /// Deleted messages.
    deletions: Deletions;
    /// Groups.
    groups: Groups;
    /// Members of conversations.
    members: Members;
    /// Idempotency keys of messages.
    message_keys: MessageKeys;
    /// Notifications that are stored.
    notifications: Notifications;
    /// Mails that an earlier natter has queued.
    outbox: Outbox;
    /// Reactions to messages.
    reactions: Reactions;
    /// Friendships, requests and blocks.
    relations: Relations;
    /// Messages by their sender.
    sends: Sends;
    /// Changes of messages that search has yet to take up.
    unindexed: Unindexed;
    /// Accounts.
    users: Users;
}

/// Collections that other modules read and write, past the row modules: a population, and
/// accounts until they have moved.
macro_rules! populated {
    ($($name:ident: $Rows:ident;)*) => {
        $(impl $Rows<'_> {
            pub(in crate::repositories) fn collection<R: Send + Sync>(store: &Store) -> Collection<R> {
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
