//! Many rows at once: how a made-up population gets into the store.
//!
//! The rows are those that the service would have left, from the same code where there is some:
//! messages are numbered and counted by the plan of the message writer. They go straight into their
//! collections, in no order. A row that is there already stays as it is, so that all of this may
//! be repeated.

pub(super) mod insert;
mod progress;
mod talk;

use mongodb::bson::Document;

pub use self::progress::Begun;
use self::progress::ProgressRow;
use super::messages::{MessageRow, Messages};
use super::rows;
use super::rows::sends::SendRow;
use super::rows::{groups, notifications, relations, users};
use super::{Collection, META, Store};
use crate::domain::accounts::NewAccount;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Role, Summary};
use crate::domain::groups::NewGroup;
use crate::domain::ids::UserId;
use crate::domain::messages::NumberedMessage;
use crate::domain::notifications::Notification;
use crate::error::Result;

/// An account, verified, with what it is in.
#[derive(Debug, Clone)]
pub struct Resident {
    /// The account.
    pub account: NewAccount,
    /// Groups that it is in.
    pub group_count: i32,
    /// Since when it has been there.
    pub created_at: Timestamp,
}

/// Two of whom one has asked the other to be friends.
#[derive(Debug, Clone, Copy)]
pub struct Acquaintance {
    /// Who asked.
    pub from: UserId,
    /// Who was asked.
    pub to: UserId,
    /// Whether they have accepted.
    pub accepted: bool,
    /// Since when it has stood so.
    pub since: Timestamp,
    /// Whether whoever was told last has looked.
    pub seen: bool,
}

/// A conversation and all that was ever said in it.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Whose conversation it is; `None` for a direct one.
    pub group: Option<NewGroup>,
    /// Everyone in it, each once; of a group in the order in which they joined.
    pub members: Vec<Place>,
    /// The conversation after its last message.
    pub summary: Summary,
    /// The messages, in their order.
    pub messages: Vec<NumberedMessage>,
    /// What its members were told of.
    pub told: Vec<Notification>,
}

/// A member of a [`Talk`]; numbers are those of its messages.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
    /// The last message before they joined.
    pub joined_seq: u64,
    /// Read up to here; at least [`joined_seq`](Self::joined_seq).
    pub read_seq: u64,
    /// Delivered up to here; at least [`read_seq`](Self::read_seq).
    pub delivered_seq: u64,
    /// Whether they marked as read what told them of the last message that waits.
    pub noticed: bool,
}

/// The collections that a population is in.
#[derive(Debug, Clone)]
pub struct Bulk {
    progress: Collection<ProgressRow>,
    users: Collection<users::Row>,
    relations: Collection<relations::Row>,
    groups: Collection<groups::Row>,
    conversations: Collection<Document>,
    members: Collection<Document>,
    messages: Messages,
    sends: Collection<SendRow>,
    notifications: Collection<notifications::Row>,
}

impl Bulk {
    /// The collections of a store whose messages are in so many shards.
    #[must_use]
    pub fn new(store: &Store, shards: usize) -> Self {
        Self {
            progress: store.collection(META),
            users: rows::users::Users::collection(store),
            relations: rows::relations::Relations::collection(store),
            groups: rows::groups::Groups::collection(store),
            conversations: rows::conversations::Conversations::collection(store),
            members: rows::members::Members::collection(store),
            messages: Messages::new(store, shards),
            sends: rows::sends::Sends::collection(store),
            notifications: rows::notifications::Notifications::collection(store),
        }
    }

    /// Puts accounts there.
    ///
    /// # Errors
    /// One that [`taken`](users::taken) knows, where someone else has a name or an address.
    pub async fn users(&self, residents: &[Resident]) -> Result<()> {
        let rows: Vec<users::Row> = residents
            .iter()
            .map(|resident| {
                let row = users::Row::new(&resident.account, true, resident.created_at);
                row.in_groups(resident.group_count)
            })
            .collect();
        insert::absent(&self.users, &rows).await
    }

    /// Puts friendships and requests there, with what they told either side.
    pub async fn acquaintances(&self, pairs: &[Acquaintance]) -> Result<()> {
        let rows: Vec<relations::Row> = pairs
            .iter()
            .map(|pair| relations::Row::stood(pair.from, pair.to, pair.accepted, pair.since))
            .collect();
        let told: Vec<notifications::Row> =
            pairs.iter().flat_map(told).map(|told| (&told).into()).collect();
        tokio::try_join!(
            Box::pin(insert::absent(&self.relations, &rows)),
            Box::pin(insert::absent(&self.notifications, &told)),
        )?;
        Ok(())
    }

    /// Puts conversations there, each with its group, members, messages and notifications.
    pub async fn talks(&self, talks: &[Talk]) -> Result<()> {
        let (mut summaries, mut members, mut sends) = (Vec::new(), Vec::new(), Vec::new());
        let mut shards: Vec<Vec<_>> = self.messages.all().iter().map(|_| Vec::new()).collect();
        for talk in talks {
            let shard = self.messages.index(talk.summary.id);
            shards[shard].extend(talk.messages.iter().map(MessageRow::from));
            summaries.push(rows::conversations::row(&talk.summary));
            members.extend(talk.member_rows()?);
            sends.extend(talk.messages.iter().map(SendRow::from));
        }
        let groups: Vec<groups::Row> =
            talks.iter().filter_map(|talk| talk.group.as_ref()).map(groups::Row::from).collect();
        let told: Vec<notifications::Row> =
            talks.iter().flat_map(|talk| &talk.told).map(notifications::Row::from).collect();
        let messages = self.messages.all().iter().zip(&shards);
        let messages = messages.map(|(shard, rows)| insert::absent(shard, rows));
        tokio::try_join!(
            Box::pin(insert::absent(&self.conversations, &summaries)),
            Box::pin(insert::absent(&self.members, &members)),
            Box::pin(insert::absent(&self.sends, &sends)),
            Box::pin(insert::absent(&self.groups, &groups)),
            Box::pin(insert::absent(&self.notifications, &told)),
            Box::pin(futures_util::future::try_join_all(messages)),
        )?;
        Ok(())
    }
}

/// What either side was told: of the request, which an answer settles, and of the acceptance.
fn told(pair: &Acquaintance) -> Vec<Notification> {
    let Acquaintance { from, to, accepted, since, seen } = *pair;
    let request = Notification::friend_request(to, from, since);
    if !accepted {
        return vec![Notification { read: seen, ..request }];
    }
    let acceptance = Notification::friend_accepted(from, to, since);
    vec![Notification { read: true, ..request }, Notification { read: seen, ..acceptance }]
}
