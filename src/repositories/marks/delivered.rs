//! Delivered marks, many at once.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use super::MarksRepository;
use super::hidden::peer_among;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::repositories::bson::id;
use crate::repositories::conversations::Member;
use crate::repositories::rows::members;
use crate::repositories::rows::members::shown;
use crate::repositories::rows::relations::Pair;
use crate::repositories::store::{all, within};

/// Up to which message everything has come to a user's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// The number of the last, as clients say: the greatest first. What is past the last message
    /// of the conversation is not so.
    pub seqs: Vec<u64>,
}

/// A row of `conversations`, as far as how far it is; of a direct one, with its two users.
#[derive(Debug, Deserialize)]
struct Length {
    #[serde(rename = "_id", with = "id")]
    id: ConversationId,
    last_seq: u64,
    #[serde(default)]
    members: Vec<Member>,
}

impl Length {
    /// The other of a direct conversation, of whom one is a member.
    fn peer_of(&self, user: UserId) -> Option<UserId> {
        let members: Vec<UserId> = self.members.iter().map(|member| member.0).collect();
        peer_among(&members, user).filter(|_| members.contains(&user))
    }
}

impl MarksRepository {
    /// Moves delivered marks, all in one command; never back, only of members, and none to where
    /// there is no message yet.
    ///
    /// # Errors
    /// When the store is away: some may have been moved.
    pub async fn deliver(&self, deliveries: &[Delivery], at: Timestamp) -> Result<()> {
        let lengths = self.lengths(deliveries).await?;
        let peer_of = |it: &Delivery| lengths.get(&it.conversation)?.peer_of(it.user);
        let pairs = deliveries.iter().filter_map(|it| Some((it.user, peer_of(it)?)));
        let hidden = self.hidden(&pairs.collect::<Vec<Pair>>()).await?;
        let updates: Vec<Document> = deliveries
            .iter()
            .filter_map(|it| {
                let last = lengths.get(&it.conversation)?.last_seq;
                let seq = it.seqs.iter().find(|seq| **seq <= last)?;
                let seq = i64::try_from(*seq).ok()?;
                let key = members::key(it.conversation, it.user);
                let moved = doc! { "$set": { "delivered_seq": seq, "delivered_at": at } };
                let is_hidden = peer_of(it).is_some_and(|peer| hidden.contains(&(it.user, peer)));
                let moved = if is_hidden { vec![shown::hide(at), moved] } else { vec![moved] };
                let behind = doc! { "_id": key, "delivered_seq": { "$lt": seq } };
                Some(doc! { "q": behind, "u": moved })
            })
            .collect();
        if updates.is_empty() {
            return Ok(());
        }
        self.update_many_rows(updates).await?;
        self.show_unhidden(&hidden).await
    }

    /// Updates of member rows, in one command.
    pub(super) async fn update_many_rows(&self, updates: Vec<Document>) -> Result<()> {
        let command = doc! {
            "update": self.rows.name(),
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        let reply = within(&self.store, self.store.database().run_command(command)).await?;
        match (reply.get_array("writeErrors"), reply.get("writeConcernError")) {
            (Err(_), None) => Ok(()),
            (errors, concern) => {
                let first = errors.ok().and_then(|errors| errors.first()).or(concern);
                let first = first.map(Bson::to_string).unwrap_or_default();
                Err(Error::unavailable().with_source(first))
            }
        }
    }

    /// How far each conversation is.
    async fn lengths(&self, deliveries: &[Delivery]) -> Result<HashMap<ConversationId, Length>> {
        let mut ids: Vec<ConversationId> = deliveries.iter().map(|it| it.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = self.store.collection::<Length>("conversations");
        let fields = doc! { "last_seq": 1, "members": 1 };
        let find = rows.find(doc! { "_id": { "$in": ids } }).projection(fields);
        Ok(all(&rows, find).await?.into_iter().map(|row| (row.id, row)).collect())
    }
}
