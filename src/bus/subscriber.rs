//! The subscription of an instance: one connection, and a channel for each connected user.

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::timeout;

use super::log::position;
use super::{Bus, BusEvent, BusMessage, Epoch, Names, REDIS_TIMEOUT, Typing, away, presence};
use crate::domain::events::{Envelope, EventKind, FrameKind};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

/// The subscriber connection of an instance.
#[derive(derive_more::Debug)]
#[debug("Subscriber")]
pub struct Subscriber {
    sink: PubSubSink,
    messages: Messages,
    names: Names,
}

/// The messages of a subscription.
#[derive(derive_more::Debug)]
#[debug("Messages")]
pub struct Messages {
    stream: PubSubStream,
    bus: Bus,
}

impl Bus {
    /// A new subscription, without channels of users.
    pub async fn subscriber(&self) -> Result<Subscriber> {
        let pubsub = timeout(REDIS_TIMEOUT, self.client.get_async_pubsub()).await;
        let pubsub = pubsub.map_err(|_| Error::unavailable())?.map_err(away)?;
        let (mut sink, stream) = pubsub.split();
        let progress = timeout(REDIS_TIMEOUT, sink.subscribe(self.names.progress())).await;
        progress.map_err(|_| Error::unavailable())?.map_err(away)?;
        let messages = Messages { stream, bus: self.clone() };
        Ok(Subscriber { sink, messages, names: self.names.clone() })
    }
}

impl Subscriber {
    /// Subscribes to the channels of these users. Messages after this returns are received.
    pub async fn hear(&mut self, users: &[UserId]) -> Result<()> {
        let channels: Vec<String> = users.iter().map(|user| self.names.channel(*user)).collect();
        if channels.is_empty() {
            return Ok(());
        }
        let subscribed = timeout(REDIS_TIMEOUT, self.sink.subscribe(&channels)).await;
        subscribed.map_err(|_| Error::unavailable())?.map_err(away)
    }

    /// Unsubscribes from the channels of these users.
    pub async fn ignore(&mut self, users: &[UserId]) -> Result<()> {
        let channels: Vec<String> = users.iter().map(|user| self.names.channel(*user)).collect();
        if channels.is_empty() {
            return Ok(());
        }
        let left = timeout(REDIS_TIMEOUT, self.sink.unsubscribe(&channels)).await;
        left.map_err(|_| Error::unavailable())?.map_err(away)
    }

    /// Sends a ping; fails if Redis does not answer.
    pub async fn ping(&mut self) -> Result<()> {
        let answered = timeout(REDIS_TIMEOUT, self.sink.ping::<redis::Value>()).await;
        answered.map_err(|_| Error::unavailable())?.map_err(away).map(drop)
    }

    /// The messages of the subscription.
    pub fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }
}

impl Messages {
    /// The next message; `None` once the connection is lost.
    pub async fn next(&mut self) -> Option<BusEvent> {
        loop {
            let message = self.stream.next().await?;
            let heard = match self.bus.names.user_of(message.get_channel_name()) {
                Some(user) => {
                    told(message.get_payload_bytes()).map(|told| BusEvent::Message(user, told))
                }
                None => progress(message.get_payload_bytes()),
            };
            match heard {
                None => tracing::warn!(event = "bus_message_unreadable", "message skipped"),
                Some(heard) => {
                    if let BusEvent::Progress(_, position)
                    | BusEvent::Message(
                        _,
                        BusMessage::Event { position, .. } | BusMessage::Unnamed { position },
                    ) = heard
                    {
                        self.bus.has_reached(position);
                    }
                    return Some(heard);
                }
            }
        }
    }
}

fn progress(payload: &[u8]) -> Option<BusEvent> {
    let (epoch, at) = std::str::from_utf8(payload).ok()?.strip_prefix("A\n")?.split_once('\n')?;
    Some(BusEvent::Progress(Epoch::parse(epoch)?, at.parse().ok()?))
}

fn told(payload: &[u8]) -> Option<BusMessage> {
    let (kind, rest) = std::str::from_utf8(payload).ok()?.split_once('\n')?;
    match kind {
        "P" => presence::read(rest),
        "T" => {
            let mut parts = rest.splitn(3, '\n');
            let (conversation, user) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let frame = parts.next()?.into();
            Some(BusMessage::Typing(Typing { conversation, user, frame }))
        }
        "E2" => event(rest),
        "E" => Some(BusMessage::Unnamed { position: position(rest.split('\n').next()?)? }),
        kind => super::revocation::told(kind, rest),
    }
}

/// Reads what the script of [`Writer`](super::writer::Writer) publishes.
fn event(text: &str) -> Option<BusMessage> {
    let mut parts = text.splitn(6, '\n');
    let mut part = || parts.next();
    let (at, previous, conversation) = (position(part()?)?, part()?, part()?);
    let (kind, subject) = (EventKind::named(part()?)?, part()?);
    let envelope = Envelope {
        kind: FrameKind::Event(kind),
        position: Some(at),
        conversation: conversation.parse().ok(),
        subject: subject.parse().ok(),
        frame: part().filter(|frame| !frame.is_empty()).map(Into::into),
    };
    Some(BusMessage::Event { position: at, previous: position(previous), envelope })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::Position;
    use crate::domain::ids::ConversationId;

    #[test]
    fn an_event_is_read_as_it_was_published() {
        let (user, at) = (UserId::random(), Position { commit: 7, nth: 2 });
        let conversation = ConversationId::direct(user, user);
        let envelope = |frame| Envelope {
            kind: FrameKind::Event(EventKind::ReactionAdded),
            position: Some(at),
            conversation: Some(conversation),
            subject: Some(user),
            frame,
        };
        let text = format!("E2\n7-2\n7-1\n{conversation}\nreaction.added\n{user}\n");
        let previous = Some(Position { commit: 7, nth: 1 });
        for (frame, text) in [(Some("{}".into()), format!("{text}{{}}")), (None, text)] {
            let expected = BusMessage::Event { position: at, previous, envelope: envelope(frame) };
            assert_eq!(told(text.as_bytes()), Some(expected));
        }
        let earlier = format!("E\n7-2\n\n{conversation}\n{{}}");
        assert_eq!(told(earlier.as_bytes()), Some(BusMessage::Unnamed { position: at }));
        assert_eq!(told(b"E2\n7-2\n\n\nof.a.later.version\n\n{}"), None);
    }
}
