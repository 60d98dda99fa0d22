//! Frames of events, live and for clients that reconnect.

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
use super::unread::Unread;
use super::user_directory::UserDirectory;
use crate::bus::log::{Content, Entry};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Summary;
use crate::domain::events::{Envelope, Event, Frame, FrameKind, Position};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Message, PeerReceipts, StoredMessage};
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::events::stream::SequencedEvent;
use crate::store::rows::reactions::Reacted;

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

/// A conversation with its members, each with the last message from before they joined.
#[derive(Debug, Clone)]
pub struct ConversationMembers {
    /// The conversation.
    pub summary: Summary,
    /// The members.
    pub members: Vec<(UserId, u64)>,
}

/// An event of a log. Its frame shows the present state.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    /// The position.
    pub position: Position,
    /// The time of the event.
    pub at: Timestamp,
    /// The event.
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
    profiles: Arc<UserDirectory>,
    notifications: Arc<Notifications>,
}

impl Frames {
    /// Frames over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: &Arc<UserDirectory>,
        notifications: &Arc<Notifications>,
    ) -> Self {
        Self {
            repositories: repositories.clone(),
            view: View::new(repositories),
            profiles: profiles.clone(),
            notifications: notifications.clone(),
        }
    }

    /// The frames of a new event, each with its users; none if the subject of the event is gone. Most
    /// frames are the same for all users and serialised once.
    pub async fn live(
        &self,
        sequenced: &SequencedEvent,
        members: Option<&ConversationMembers>,
        audience: Vec<UserId>,
    ) -> Result<Vec<(Envelope, Vec<UserId>)>> {
        let SequencedEvent { position, at, addressed, message } = sequenced;
        let event = &addressed.event;
        let enveloped = |data: &Data| enveloped(*position, *at, event, data);
        if let (Some(members), Some(stored)) = (members, message) {
            let message = just_sent(stored, members);
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

    /// A message in its present state: the same for all users except those who reacted.
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

    /// Whether a user is a member of a conversation.
    pub async fn is_in(&self, reader: UserId, conversation: ConversationId) -> Result<bool> {
        let found = self.repositories.store.members().find(conversation, reader).await?;
        Ok(found.is_some())
    }

    /// Whether one of two users has blocked the other.
    pub async fn are_apart(&self, one: UserId, other: UserId) -> Result<bool> {
        self.repositories.store.relations().blocked_between(one, other).await
    }

    /// The frames of logged events for a reader, in their present state, without those that are gone or
    /// that the reader may no longer see.
    pub async fn past(&self, reader: UserId, past: &[LoggedEvent]) -> Result<Vec<Envelope>> {
        let events: Vec<&Event> = past.iter().map(|logged| &logged.event).collect();
        let loaded = Loaded::load(self, reader, &events).await?;
        let visibility = loaded.visibility(self, reader, &events).await?;
        let mut envelopes = Vec::with_capacity(past.len());
        for LoggedEvent { position, at, event } in
            past.iter().filter(|it| visibility.sees(&it.event))
        {
            if let Some(data) = loaded.data(event) {
                envelopes.push(enveloped(*position, *at, event, &data)?);
            }
        }
        Ok(envelopes)
    }
}

/// A new message, which no other member has read yet.
fn just_sent(stored: &StoredMessage, members: &ConversationMembers) -> Message {
    let others = members
        .members
        .iter()
        .filter(|(user, joined)| *user != stored.sender && *joined < stored.id.seq);
    let unseen = others.map(|(user, _)| (*user, 0)).next();
    let marks = PeerReceipts { read: [unseen, None], delivered: [unseen, None] };
    let mut summary = members.summary.clone();
    summary.pins.clear();
    sent(stored, &summary, &marks)
}
