//! What happened, in the order of its commits: events written in the transaction that makes them
//! happen, and the stream of all that concerns anyone ([`stream`]).

pub mod stream;

use mongodb::ClientSession;
use mongodb::error::Error as DriverError;
use serde::{Deserialize, Serialize};

use super::bson::{date, optional_id};
use super::conversations::Member;
use super::store::{Collection, Store};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Audience, Event, Happening};
use crate::domain::ids::{ConversationId, UserId};

/// A row of `events`. Nobody looks for one by its key, which the driver makes.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    event: Event,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    conversation_id: Option<ConversationId>,
    users: Vec<Member>,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    friends_of: Option<UserId>,
    #[serde(with = "date")]
    at: Timestamp,
}

impl Row {
    fn new(happening: Happening, at: Timestamp) -> Self {
        let Happening { event, audience } = happening;
        Self {
            event,
            conversation_id: audience.members,
            users: audience.users.into_iter().map(Member).collect(),
            friends_of: audience.friends_of,
            at,
        }
    }

    fn happening(self) -> Happening {
        let users = self.users.into_iter().map(|member| member.0).collect();
        let (members, friends_of) = (self.conversation_id, self.friends_of);
        let audience = Audience { members, users, friends_of };
        Happening { event: self.event, audience }
    }
}

/// The collection `events`.
#[derive(Debug, Clone)]
pub struct Events {
    store: Store,
    rows: Collection<Row>,
}

impl Events {
    /// The events of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), rows: store.collection("events") }
    }

    /// Tells what a transaction makes happen, in this order.
    pub(super) async fn add(
        &self,
        session: &mut ClientSession,
        happenings: impl IntoIterator<Item = Happening>,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let rows: Vec<Row> =
            happenings.into_iter().map(|happening| Row::new(happening, at)).collect();
        if !rows.is_empty() {
            self.rows.insert_many(rows).session(session).await?;
        }
        Ok(())
    }
}
