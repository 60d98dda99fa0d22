//! The change stream of all events, in the order of commits: new messages, marks that move,
//! notifications, and the rows of `events`.

use std::time::Duration;

use mongodb::bson;
use mongodb::bson::{Bson, Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use serde::de::DeserializeOwned;

use super::Events;
use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Event, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::messages::StoredMessage;
use crate::domain::notifications::Notification;
use crate::error::{Error, Result};
use crate::store::bson::StoredId;
use crate::store::messages::MessageRow;
use crate::store::rows::events::{NAME, Row};
use crate::store::rows::notifications::Row as NotificationRow;
use crate::store::{Store, within};

/// How long the server waits before it answers that there are no changes.
const MAX_AWAIT: Duration = Duration::from_millis(500);

/// The error codes of a server that no longer has changes that old: 280
/// `ChangeStreamFatalError`, 286 `ChangeStreamHistoryLost`.
const LOST_CODES: [i32; 2] = [280, 286];

/// An event with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct SequencedEvent {
    /// The position.
    pub position: Position,
    /// The time of the event.
    pub at: Timestamp,
    /// The event and its audience.
    pub addressed: AddressedEvent,
    /// The message, if the event is a new message.
    pub message: Option<StoredMessage>,
}

/// The stream of events.
#[derive(derive_more::Debug)]
#[debug("EventStream")]
pub struct EventStream {
    stream: ChangeStream<ChangeStreamEvent<Document>>,
    last: Position,
    background: Store,
}

impl Events {
    /// The present moment of the store: all later commits are after it.
    pub async fn now(&self) -> Result<Position> {
        // What a majority has, as all reads of the service see it. The time of any other command
        // is that of writes which a failover may still undo, or which nobody sees yet.
        let read = doc! {
            "find": NAME,
            "projection": { "_id": 1 },
            "sort": { "_id": 1 },
            "limit": 1,
            "singleBatch": true,
            "readConcern": { "level": "majority" },
        };
        let reply = within(&self.store, self.store.database().run_command(read)).await?;
        match reply.get("operationTime") {
            Some(Bson::Timestamp(at)) => Ok(Position { nth: u32::MAX, ..of_commit(*at) }),
            _ => Err(Error::internal("a server that is not of a replica set")),
        }
    }

    /// All events from the commit of a position on, including that commit; `None` if the store no longer
    /// has them.
    pub async fn follow(&self, from: Position) -> Result<Option<EventStream>> {
        let at = bson::Timestamp {
            time: u32::try_from(from.seconds()).unwrap_or(u32::MAX),
            increment: u32::try_from(from.commit & u64::from(u32::MAX)).unwrap_or(u32::MAX),
        };
        let background = self.store.for_background();
        let watch =
            background.database().watch().pipeline([relevant_changes()]).max_await_time(MAX_AWAIT);
        let opened =
            within(&background, async { Ok(watch.start_at_operation_time(at).await) }).await?;
        match opened {
            Ok(stream) => {
                let stream = stream.with_type();
                Ok(Some(EventStream { stream, last: Position::default(), background }))
            }
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(Error::unavailable().with_source(error)),
        }
    }
}

impl EventStream {
    /// The next event; `None` after half a second without one.
    ///
    /// # Errors
    /// When the stream has ended or the store is away: the caller follows it anew.
    pub async fn next(&mut self) -> Result<Option<SequencedEvent>> {
        loop {
            let Some(change) = within(&self.background, self.stream.next_if_any()).await? else {
                return if self.stream.is_alive() { Ok(None) } else { Err(Error::unavailable()) };
            };
            let commit = change.cluster_time.ok_or_else(Error::unavailable)?;
            let commit = of_commit(commit).commit;
            let nth = if self.last.commit == commit { self.last.nth + 1 } else { 1 };
            self.last = Position { commit, nth };
            match read(change) {
                Ok(Some(Change { addressed, at, message })) => {
                    // A mark's own time where it has one, else that of its commit.
                    let at = at.unwrap_or_else(|| committed_at(commit));
                    let position = self.last;
                    return Ok(Some(SequencedEvent { position, at, addressed, message }));
                }
                Ok(None) => {}
                // An unreadable change must not stop the ones after it.
                Err(error) => {
                    tracing::error!(event = "event_unreadable", %error, "change skipped");
                }
            }
        }
    }

    /// The position before which the stream returned all events, after [`next`](Self::next) returned
    /// `None`.
    pub fn passed(&self) -> Option<Position> {
        token_time(&bson::serialize_to_bson(&self.stream.resume_token()?).ok()?)
    }
}

/// The time at the beginning of a resume token: a timestamp of the keys that the server sorts by,
/// in hexadecimal.
fn token_time(token: &Bson) -> Option<Position> {
    let time = token.as_document()?.get_str("_data").ok()?.strip_prefix("82")?.get(..16)?;
    u64::from_str_radix(time, 16).ok().map(Position::before)
}

fn of_commit(at: bson::Timestamp) -> Position {
    Position::before(u64::from(at.time) << 32 | u64::from(at.increment))
}

fn is_lost(error: &mongodb::error::Error) -> bool {
    let code = crate::store::server_code(error);
    code.is_some_and(|code| LOST_CODES.contains(&code))
}

/// The changes that are events. Rows that no transaction wrote are a bulk load and no events.
fn relevant_changes() -> Document {
    let moved = |mark: &str| {
        doc! { format!("updateDescription.updatedFields.{mark}"): { "$exists": true } }
    };
    let marks = ["read_seq", "delivered_seq", "muted_until"].map(moved);
    let unmuted = doc! { "updateDescription.removedFields": "muted_until" };
    let marks: Vec<Document> = marks.into_iter().chain([unmuted]).collect();
    doc! { "$match": { "$or": [
        {
            "operationType": { "$in": ["insert", "replace"] },
            "txnNumber": { "$exists": true },
            "$or": [
                { "ns.coll": { "$in": ["events", "notifications"] } },
                { "ns.coll": { "$regex": "^messages_[0-9]+$" }, "operationType": "insert" },
            ],
        },
        { "ns.coll": "members", "operationType": "update", "$or": marks },
        { "operationType": "dropDatabase" },
    ] } }
}

struct Change {
    addressed: AddressedEvent,
    at: Option<Timestamp>,
    message: Option<StoredMessage>,
}

impl Change {
    fn new(addressed: AddressedEvent, at: Option<Timestamp>) -> Self {
        Self { addressed, at, message: None }
    }
}

fn committed_at(commit: u64) -> Timestamp {
    let seconds = i64::try_from(commit >> 32).unwrap_or(i64::MAX);
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

fn read(change: ChangeStreamEvent<Document>) -> Result<Option<Change>> {
    let collection = change.ns.and_then(|ns| ns.coll).unwrap_or_default();
    match (change.operation_type, change.full_document, collection.as_str()) {
        (OperationType::Update, _, "members") => {
            let key =
                change.document_key.as_ref().and_then(|key| key.get_binary_generic("_id").ok());
            let update = change.update_description.ok_or_else(malformed)?;
            marked(key.ok_or_else(malformed)?, &update.updated_fields).map(Some)
        }
        (_, Some(row), "events") => {
            let row = parsed::<Row>(row)?;
            let at = row.at;
            Ok(Some(Change::new(row.addressed(), Some(at))))
        }
        (_, Some(row), "notifications") => {
            let told: Notification = parsed::<NotificationRow>(row)?.into();
            let event = Event::NotificationCreated { notification: told.id };
            let addressed = AddressedEvent::for_users([told.id.user()], event);
            Ok(Some(Change::new(addressed, Some(told.at))))
        }
        (_, Some(row), _) => {
            let message: StoredMessage = parsed::<MessageRow>(row)?.into();
            let (id, at) = (message.id, Some(message.at));
            let addressed =
                AddressedEvent::among(id.conversation, Event::MessageCreated { message: id });
            Ok(Some(Change { addressed, at, message: Some(message) }))
        }
        _ => Ok(None),
    }
}

/// The mark of a member that moved. Reading moves both marks, and implies delivery.
fn marked(key: &[u8], fields: &Document) -> Result<Change> {
    let (conversation, user) = key.split_at_checked(16).ok_or_else(malformed)?;
    let conversation = ConversationId::from_stored(conversation).ok_or_else(malformed)?;
    let user = UserId::from_stored(user).ok_or_else(malformed)?;
    let seq = |field| fields.get_i64(field).ok().and_then(|seq| u64::try_from(seq).ok());
    let time = |field| {
        let at = fields.get_datetime(field).ok();
        at.map(|at| Timestamp::from_millis(at.timestamp_millis()))
    };
    // Under a block the other user does not receive it.
    let is_hidden = fields.contains_key("hidden_moves");
    let told = |event| {
        if is_hidden {
            AddressedEvent::for_users([user], event)
        } else {
            AddressedEvent::among(conversation, event)
        }
    };
    if let Some(seq) = seq("read_seq") {
        let event = Event::Read { conversation, user, seq };
        return Ok(Change::new(told(event), time("read_at")));
    }
    if let Some(seq) = seq("delivered_seq") {
        let event = Event::Delivered { conversation, user, seq };
        return Ok(Change::new(told(event), time("delivered_at")));
    }
    let event = Event::Muted { conversation, until: time("muted_until") };
    Ok(Change::new(AddressedEvent::for_users([user], event), None))
}

fn parsed<T: DeserializeOwned>(row: Document) -> Result<T> {
    bson::deserialize_from_document(row).map_err(Error::internal)
}

fn malformed() -> Error {
    Error::internal("a change without what it changes")
}
