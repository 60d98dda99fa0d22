//! What happens that no other row says by itself: a row each, written in the transaction that makes
//! it happen, followed ([`events`](crate::store::events)), never looked for.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Audience, Event};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{date, optional_id};
use crate::store::rows::conversations::Member;

/// The name of the collection.
pub(in crate::store) const NAME: &str = "events";

/// A row of `events`. Nobody looks for one by its key, which the driver makes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    event: Event,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    conversation_id: Option<ConversationId>,
    users: Vec<Member>,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    friends_of: Option<UserId>,
    #[serde(with = "date")]
    pub at: Timestamp,
}

impl Row {
    fn new(addressed: AddressedEvent, at: Timestamp) -> Self {
        let AddressedEvent { event, audience } = addressed;
        Self {
            event,
            conversation_id: audience.members,
            users: audience.users.into_iter().map(Member).collect(),
            friends_of: audience.friends_of,
            at,
        }
    }

    pub fn addressed(self) -> AddressedEvent {
        let users = self.users.into_iter().map(|member| member.0).collect();
        let (members, friends_of) = (self.conversation_id, self.friends_of);
        let audience = Audience { members, users, friends_of };
        AddressedEvent { event: self.event, audience }
    }
}

/// The collection `events`, for one command.
pub struct Events<'a>(Table<'a, Row>);

impl<'a> Events<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Tells what a transaction makes happen, in this order.
    pub async fn add(
        self,
        events: impl IntoIterator<Item = AddressedEvent>,
        at: Timestamp,
    ) -> Result<()> {
        self.0.insert_all(events.into_iter().map(|it| Row::new(it, at)).collect()).await
    }
}
