//! Marks: how far members are, and what they have muted.

use std::time::Duration;

use natter::internals::domain::{AddressedEvent, ConversationId, Event, Timestamp};
use serde_json::{Value, json};

use super::{Log, among, id, message_id};
use crate::support::{Actor, TestApp};

async fn read(actor: &Actor, message: &Value) {
    let path = format!("/conversations/{}/read", message_id(message).conversation);
    actor.post(&path, json!({"message_id": message["id"]})).await.ok(200);
}

async fn mute(actor: &Actor, conversation: ConversationId, until: Option<Timestamp>) {
    let path = format!("/conversations/{conversation}/mute");
    actor.put(&path, json!({"muted_until": until})).await.ok(200);
}

#[tokio::test]
async fn a_mark_that_moves_is_told_once() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = [alice.send(&bob, "a").await, alice.send(&bob, "b").await];
    let own = bob.send(&alice, "c").await;
    let mut log = Log::of(&app).await;
    let conversation = message_id(&own).conversation;
    let seen = |seq| among(conversation, [Event::Read { conversation, user: id(&bob), seq }]);
    for (seq, message) in [(1, &sent[0]), (2, &sent[1]), (3, &own)] {
        app.advance(Duration::from_secs(1));
        read(&bob, message).await;
        log.holds(seen(seq)).await;
        app.advance(Duration::from_secs(1));
        read(&bob, message).await;
        read(&bob, &sent[0]).await;
        log.holds([]).await;
    }
    // Nor does anything else that changes a member's row tell of marks.
    alice.send(&bob, "d").await;
    bob.post("/notifications/read", json!({"all": true})).await.ok(200);
    alice.post("/blocks", json!({"user_id": bob.id})).await.ok(201);
    let message = natter::internals::domain::MessageId::new(conversation, 4);
    let mut told = among(conversation, [Event::MessageCreated { message }]);
    let event = Event::NotificationRead { ids: Vec::new(), all: true };
    told.push(AddressedEvent::for_users([id(&bob)], event));
    log.holds(told).await;
}

#[tokio::test]
async fn muting_is_told_to_oneself() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let conversation = message_id(&alice.send(&bob, "a").await).conversation;
    let mut log = Log::of(&app).await;
    mute(&bob, conversation, None).await;
    log.holds([]).await;
    let later = |hours| Some(app.clock().now().plus(Duration::from_hours(hours)));
    for until in [later(1), later(2), None] {
        for _ in 0..2 {
            mute(&bob, conversation, until).await;
        }
        let muted = Event::Muted { conversation, until };
        log.holds([AddressedEvent::for_users([id(&bob)], muted)]).await;
    }
    let path = format!("/conversations/{conversation}/mute");
    bob.put(&path, json!({"muted_until": "soon"})).await.invalid(&["muted_until"]);
    log.holds([]).await;
}
