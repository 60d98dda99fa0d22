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
use crate::bus::log::{Content, Entry};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Summary;
use crate::domain::events::{Envelope, Event, Frame, FrameKind, Position};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, OthersMarks, StoredMessage};
use crate::error::{Error, Result};
use crate::repositories::Repositories;
use crate::repositories::events::stream::SequencedEvent;
use crate::repositories::reactions::Reacted;

/// The JSON form of a frame.
#[derive(Debug, Serialize)]
struct Json<'a, T> {
    r#type: &'a str,
    id: Option<Position>,
    at: Timestamp,
    data: T,
}

/// Makes a frame. An event has its position as the id of its frame.
pub fn frame(
    kind: FrameKind,
    id: Option<Position>,
    at: Timestamp,
    data: &impl Serialize,
) -> Result<Frame> {
    let json = Json { r#type: kind.name(), id, at, data };
    serde_json::to_string(&json).map(Into::into).map_err(Error::internal)
}

/// Makes the frame of an event, with its envelope.
fn enveloped(position: Position, at: Timestamp, event: &Event, data: &Data) -> Result<Envelope> {
    let kind = FrameKind::Event(event.kind());
    Ok(Envelope {
        kind,
        position: Some(position),
        conversation: event.conversation().or(data.notified_of()),
        subject: event.subject(),
        frame: frame(kind, Some(position), at, data)?,
    })
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
pub struct LoggedEvent {
    /// Its place in the log.
    pub position: Position,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

impl From<Entry> for LoggedEvent {
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
        sequenced: &SequencedEvent,
        circle: Option<&Circle>,
        audience: Vec<UserId>,
    ) -> Result<Vec<(Envelope, Vec<UserId>)>> {
        let SequencedEvent { position, at, addressed, message } = sequenced;
        let event = &addressed.event;
        let enveloped = |data: &Data| enveloped(*position, *at, event, data);
        if let (Some(circle), Some(stored)) = (circle, message) {
            let message = just_sent(stored, circle);
            return Ok(vec![(enveloped(&Data::Message(Box::new(message)))?, audience)]);
        }
        if let Event::MessageUpdated { message } = event {
            let shown = self.updated(*message, audience).await?.into_iter();
            return shown
                .map(|(message, users)| Ok((enveloped(&Data::Message(Box::new(message)))?, users)))
                .collect();
        }
        let Some(first) = audience.first() else { return Ok(Vec::new()) };
        let loaded = Loaded::load(self, *first, std::slice::from_ref(&event)).await?;
        match loaded.data(event) {
            Some(data) => Ok(vec![(enveloped(&data)?, audience)]),
            None => Ok(Vec::new()),
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
        let summary = self.repositories.conversations.find(id.conversation).await?;
        let Some(summary) = summary else { return Ok(Vec::new()) };
        let marks = self.repositories.marks.lowest_in(&[&summary]).await?;
        let Some(marks) = marks.get(&summary.id) else { return Ok(Vec::new()) };
        let mut reacted = HashMap::new();
        if !stored.reactions.is_empty() {
            reacted = self.repositories.reactions.by(&audience, id).await?;
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
    pub async fn past(&self, reader: UserId, past: &[LoggedEvent]) -> Result<Vec<Envelope>> {
        let events: Vec<&Event> = past.iter().map(|happened| &happened.event).collect();
        let loaded = Loaded::load(self, reader, &events).await?;
        let seen = loaded.seen(self, reader, &events).await?;
        let mut envelopes = Vec::with_capacity(past.len());
        for LoggedEvent { position, at, event } in past.iter().filter(|it| seen.sees(&it.event)) {
            if let Some(data) = loaded.data(event) {
                envelopes.push(enveloped(*position, *at, event, &data)?);
            }
        }
        Ok(envelopes)
    }
}

/// A new message: nobody else has seen it yet, unless there is nobody else.
fn just_sent(stored: &StoredMessage, circle: &Circle) -> Message {
    let others = circle
        .members
        .iter()
        .filter(|(user, joined)| *user != stored.sender && *joined < stored.id.seq);
    let unseen = others.map(|(user, _)| (*user, 0)).next();
    let marks = OthersMarks { read: [unseen, None], delivered: [unseen, None] };
    let mut summary = circle.summary.clone();
    summary.pins.clear();
    sent(stored, &summary, &marks)
}
