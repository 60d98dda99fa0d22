//! Row modules, one for each collection that has one: its rows, their keys and what is done with
//! them. A row module decides nothing: what may be, a service says. Where other modules still open
//! the same collection, they are to move here (docs/decisions/0031).

pub mod events;
pub mod jobs;

use self::events::Events;
use self::jobs::Jobs;
use self::jobs::queue::Queue;
use super::store::{Store, Tx};

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
    /// Groups.
    groups: Groups;
    /// Members of conversations.
    members: Members;
    /// Notifications that are stored.
    notifications: Notifications;
    /// Mails that an earlier natter has queued.
    outbox: Outbox;
    /// Friendships, requests and blocks.
    relations: Relations;
    /// Messages by their sender.
    sends: Sends;
    /// Accounts.
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
