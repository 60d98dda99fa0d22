//! Frames: what clients are sent of what happened, live and when they come back.

pub mod data;
mod loaded;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use self::data::Data;
use self::loaded::Loaded;
use super::messages::View;
use super::messages::view::{sent, shown};
use super::notifications::Notifications;
use super::profiles::Profiles;
use super::unread::Unread;
use crate::bus::log::{Content, Entry};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Summary;
use crate::domain::events::{Event, Position};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, PeerReceipts, StoredMessage};
use crate::error::{Error, Result};
use crate::repositories::Repositories;
use crate::repositories::events::stream::Occurrence;
use crate::repositories::rows::reactions::Reacted;

/// What a client is sent, as JSON, shared by all who are sent the same.
pub type Frame = Arc<str>;

/// The outer form of every frame.
#[derive(Debug, Serialize)]
struct Envelope<'a, T> {
    r#type: &'a str,
    id: Option<Position>,
    at: Timestamp,
    data: T,
}

/// A frame of this type. What is in the log has its place there as its id.
pub fn frame(
    kind: &str,
    id: Option<Position>,
    at: Timestamp,
    data: &impl Serialize,
) -> Result<Frame> {
    let envelope = Envelope { r#type: kind, id, at, data };
    serde_json::to_string(&envelope).map(Into::into).map_err(Error::internal)
}

/// The type and the id of a frame of ours, which come first in it.
#[must_use]
pub fn head(frame: &str) -> (&str, Option<&str>) {
    let rest = frame.strip_prefix("{\"type\":\"").unwrap_or_default();
    let (kind, rest) = rest.split_once('"').unwrap_or_default();
    let id = rest.strip_prefix(",\"id\":\"").and_then(|rest| rest.split('"').next());
    (kind, id)
}

/// A conversation and who is in it, with the last message that was there before each joined.
#[derive(Debug, Clone)]
pub struct Circle {
    /// The conversation.
    pub summary: Summary,
    /// Who is in it.
    pub members: Vec<(UserId, u64)>,
}

/// An event of someone's past, to be shown as it now stands.
#[derive(Debug, Clone)]
pub struct Happened {
    /// Its place in the log.
    pub position: Position,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

impl From<Entry> for Happened {
    fn from(entry: Entry) -> Self {
        let Content { at, event } = entry.content;
        Self { position: entry.position, at, event }
    }
}

/// Makes frames.
#[derive(Debug)]
pub struct Frames {
    repositories: Repositories,
    view: View,
    profiles: Arc<Profiles>,
    notifications: Arc<Notifications>,
}

impl Frames {
    /// Frames of what these repositories hold.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: &Arc<Profiles>,
        notifications: &Arc<Notifications>,
    ) -> Self {
        Self {
            repositories: repositories.clone(),
            view: View::new(repositories),
            profiles: profiles.clone(),
            notifications: notifications.clone(),
        }
    }

    /// What each of an audience is sent of something that happens now; nothing of what is gone
    /// already. Most is the same for all and serialised once.
    pub async fn live(
        &self,
        occurrence: &Occurrence,
        circle: Option<&Circle>,
        audience: Vec<UserId>,
    ) -> Result<Vec<(Frame, Vec<UserId>)>> {
        let Occurrence { position, at, happening, message } = occurrence;
        let event = &happening.event;
        let frame = |data: &Data| frame(event.name(), Some(*position), *at, data);
        match (event, circle, message) {
            (Event::MessageCreated { .. }, Some(circle), Some(stored)) => {
                let message = just_sent(stored, circle);
                Ok(vec![(frame(&Data::Message(Box::new(message)))?, audience)])
            }
            (Event::MessageUpdated { message }, ..) => {
                let shown = self.updated(*message, audience).await?;
                let framed = shown
                    .into_iter()
                    .map(|(message, users)| Ok((frame(&Data::Message(Box::new(message)))?, users)));
                framed.collect()
            }
            _ => {
                let Some(first) = audience.first() else { return Ok(Vec::new()) };
                let loaded = Loaded::load(self, *first, std::slice::from_ref(&event)).await?;
                match loaded.data(event) {
                    Some(data) => Ok(vec![(frame(&data)?, audience)]),
                    None => Ok(Vec::new()),
                }
            }
        }
    }

    /// A message as it stands, the same for all but those who reacted to it.
    async fn updated(
        &self,
        id: MessageId,
        audience: Vec<UserId>,
    ) -> Result<Vec<(Message, Vec<UserId>)>> {
        let Some(stored) = self.repositories.messages.find(id).await? else {
            return Ok(Vec::new());
        };
        let summary = self.repositories.store.conversations().find(id.conversation).await?;
        let Some(summary) = summary else { return Ok(Vec::new()) };
        let marks = Unread::new(&self.repositories.store).lowest_in(&[&summary]).await?;
        let Some(marks) = marks.get(&summary.id) else { return Ok(Vec::new()) };
        let mut reacted = HashMap::new();
        if !stored.reactions.is_empty() {
            reacted = self.repositories.store.reactions().by(&audience, id).await?;
        }
        let (own, plain): (Vec<UserId>, Vec<UserId>) =
            audience.into_iter().partition(|user| reacted.contains_key(user));
        let mut frames = vec![(shown(&stored, &summary, marks, &Reacted::new()), plain)];
        for user in own {
            frames.push((shown(&stored, &summary, marks, &reacted[&user]), vec![user]));
        }
        Ok(frames)
    }

    /// Whether someone is in a conversation.
    pub async fn is_in(&self, reader: UserId, conversation: ConversationId) -> Result<bool> {
        let found = self.repositories.store.members().find(conversation, reader).await?;
        Ok(found.is_some())
    }

    /// Whether one of two has blocked the other.
    pub async fn are_apart(&self, one: UserId, other: UserId) -> Result<bool> {
        self.repositories.store.relations().blocked_between(one, other).await
    }

    /// What a reader is sent of their past, as it now stands: what is gone, and what they may no
    /// longer see, is not in it.
    pub async fn past(
        &self,
        reader: UserId,
        past: &[Happened],
    ) -> Result<Vec<(Position, Option<ConversationId>, Frame)>> {
        let events: Vec<&Event> = past.iter().map(|happened| &happened.event).collect();
        let loaded = Loaded::load(self, reader, &events).await?;
        let seen = loaded.seen(self, reader, &events).await?;
        let mut frames = Vec::with_capacity(past.len());
        for Happened { position, at, event } in past.iter().filter(|it| seen.sees(&it.event)) {
            if let Some(data) = loaded.data(event) {
                let frame = frame(event.name(), Some(*position), *at, &data)?;
                frames.push((*position, event.conversation(), frame));
            }
        }
        Ok(frames)
    }
}

/// A new message: nobody else has seen it yet, unless there is nobody else.
fn just_sent(stored: &StoredMessage, circle: &Circle) -> Message {
    let others = circle
        .members
        .iter()
        .filter(|(user, joined)| *user != stored.sender && *joined < stored.id.seq);
    let unseen = others.map(|(user, _)| (*user, 0)).next();
    let marks = PeerReceipts { read: [unseen, None], delivered: [unseen, None] };
    let mut summary = circle.summary.clone();
    summary.pins.clear();
    sent(stored, &summary, &marks)
}
