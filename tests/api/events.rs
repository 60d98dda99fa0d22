//! What happens is told in the commit that makes it happen: what it is, whom it concerns, and
//! nothing else, in one order that is the same however often and from wherever it is followed.

mod friends;
mod groups;
mod leaving;
mod marks;
mod messages;
mod profiles;
mod races;

use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc, serialize_to_bson};
use natter::internals::domain::{
    AddressedEvent, ConversationId, Event, GroupId, MessageId, NotificationId, Position, UserId,
};
use natter::internals::store::{Events, SequencedEvent, Store};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::app::PATIENCE;
use crate::support::{Actor, TestApp};

/// Everything that happens in the database of a test.
struct Log {
    database: Database,
    events: Events,
    /// As another instance follows it.
    there: Events,
    from: Position,
}

impl Log {
    /// What happens from now on.
    async fn of(app: &TestApp) -> Self {
        let (events, there) = (following(app).await, following(app).await);
        let from = events.now().await.expect("a position");
        Self { database: app.database().await, events, there, from }
    }

    /// What has happened since this was last asked.
    async fn taken(&mut self) -> Vec<AddressedEvent> {
        self.events().await.into_iter().map(|it| it.addressed).collect()
    }

    /// Expects that just this has happened since this was last asked.
    async fn holds(&mut self, expected: impl IntoIterator<Item = AddressedEvent>) {
        let expected: Vec<AddressedEvent> = expected.into_iter().collect();
        let taken = self.taken().await;
        assert!(taken == expected, "{taken:#?}\nis not {expected:#?}");
    }

    /// As [`Log::taken`], with the place of each; another who begins at one of these is told just
    /// the rest.
    async fn events(&mut self) -> Vec<SequencedEvent> {
        let end = self.end().await;
        let mut all = read(&self.events, self.from, &end).await;
        assert!(all.is_sorted_by(|one, next| one.position < next.position), "{all:#?}");
        for (at, one) in all.iter().enumerate().step_by(1 + all.len() / 24) {
            let rest = read(&self.there, one.position, &end).await;
            assert!(rest == all[at + 1..], "{rest:#?}\nis not what came after {}", one.position);
        }
        self.from = all.pop().expect("its end").position;
        all
    }

    /// Something that has happened last.
    async fn end(&self) -> Event {
        let end = Event::GroupDeleted { group: GroupId::random() };
        let event = serialize_to_bson(&end).expect("a document");
        let row = doc! { "event": event, "users": [], "at": DateTime::from_millis(0) };
        let mut session = self.database.client().start_session().await.expect("a session");
        session.start_transaction().await.expect("begun");
        let rows = self.database.collection::<Document>("events");
        rows.insert_one(row).session(&mut session).await.expect("inserted");
        session.commit_transaction().await.expect("committed");
        end
    }
}

async fn following(app: &TestApp) -> Events {
    let mongodb = &app.settings().mongodb;
    Events::new(&Store::new(mongodb.uri.expose(), &mongodb.database).await.expect("a store"))
}

/// All that happened after a position, up to an event and with it.
async fn read(events: &Events, from: Position, end: &Event) -> Vec<SequencedEvent> {
    let stream = events.follow(from).await.expect("a stream");
    let mut stream = stream.expect("a store that reaches back that far");
    let mut all = Vec::new();
    let reading = async {
        loop {
            let Some(next) = stream.next().await.expect("an answer") else { continue };
            let is_end = next.addressed.event == *end;
            all.extend((next.position > from).then_some(next));
            if is_end {
                return;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("an end in time");
    all
}

fn id(actor: &Actor) -> UserId {
    actor.id.parse().expect("a user id")
}

fn group_id(group: &str) -> GroupId {
    group.parse().expect("a group id")
}

fn message_id(message: &Value) -> MessageId {
    message["id"].as_str().expect("an id").parse().expect("a message id")
}

/// What is told to everyone in a conversation.
fn among<const N: usize>(
    conversation: impl Into<ConversationId> + Copy,
    events: [Event; N],
) -> Vec<AddressedEvent> {
    events.into_iter().map(|event| AddressedEvent::among(conversation, event)).collect()
}

/// That someone is told by a notification.
fn notified(notification: NotificationId) -> AddressedEvent {
    AddressedEvent::for_users([notification.user()], Event::NotificationCreated { notification })
}

/// That two are told of each other, the first first.
fn both(one: &Actor, other: &Actor, of: fn(UserId) -> Event) -> Vec<AddressedEvent> {
    [(one, other), (other, one)]
        .map(|(reader, about)| AddressedEvent::for_users([id(reader)], of(id(about))))
        .into()
}
