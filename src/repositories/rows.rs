//! One module for each collection: the only place that opens it, its rows and their keys. A row
//! module decides nothing: what may be, a service says.

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
    /// What happens.
    events: Events;
    /// Groups.
    groups: Groups;
    /// Who is in which conversation.
    members: Members;
    /// What users are told of.
    notifications: Notifications;
    /// Friendships, requests and blocks.
    relations: Relations;
    /// Who sent what.
    sends: Sends;
    /// Accounts.
    users: Users;
}
