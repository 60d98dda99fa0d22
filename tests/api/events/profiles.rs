//! Another name or picture; notifications marked as read.

use natter::internals::domain::{AddressedEvent, Audience, Event, NotificationId};
use serde_json::{Value, json};

use super::{Log, id};
use crate::support::{Actor, Answer, TestApp};

fn changed(actor: &Actor) -> AddressedEvent {
    let user = id(actor);
    AddressedEvent { event: Event::ProfileUpdated { user }, audience: Audience::with_friends(user) }
}

fn is_read(actor: &Actor, ids: Vec<NotificationId>, all: bool) -> AddressedEvent {
    AddressedEvent::for_users([id(actor)], Event::NotificationRead { ids, all })
}

async fn picture(actor: &Actor) -> Value {
    let bytes = crate::attachments::images::gif(4, 3);
    let part = reqwest::multipart::Part::bytes(bytes).file_name("dot.gif");
    let form = reqwest::multipart::Form::new().part("file", part);
    let made = Answer::of(actor.request("POST", "/attachments").multipart(form)).await.ok(201);
    made["id"].clone()
}

#[tokio::test]
async fn another_name_or_picture_is_told_once_and_nothing_else_is() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let file = picture(&alice).await;
    let mut log = Log::of(&app).await;
    for (change, is_told) in [
        (json!({"username": "alice-b"}), true),
        (json!({"username": "alice-b"}), false),
        (json!({"username": "Alice-B"}), true),
        (json!({"profile_picture": file}), true),
        (json!({"profile_picture": file}), false),
        (json!({"email": "other@example.com"}), false),
        (json!({"email": "Alice@example.com"}), false),
        (json!({"username": "alice-c", "profile_picture": null}), true),
        (json!({"profile_picture": null}), false),
        (json!({}), false),
    ] {
        alice.put("/profile", change.clone()).await.ok(200);
        let expected = is_told.then(|| changed(&alice));
        log.holds(expected).await;
    }
    let taken = app.user("taken").await;
    log.taken().await;
    alice.put("/profile", json!({"username": taken.name})).await.problem(409, "username_taken");
    log.holds([]).await;
}

#[tokio::test]
async fn what_is_marked_as_read_is_told_to_its_reader_alone() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    bob.post("/friends/add", json!({"friend_user_id": alice.id})).await.ok(201);
    bob.send(&alice, "hi @alice").await;
    bob.post("/notifications/read", json!({"all": true})).await.ok(200);
    let items = alice.get("/notifications").await.ok(200)["items"].take();
    let ids: Vec<NotificationId> = items
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["id"].as_str().expect("an id").parse().expect("an id"))
        .collect();
    assert_eq!(ids.len(), 3, "{items}");
    let mut log = Log::of(&app).await;
    let read = |body: Value| alice.post("/notifications/read", body);

    read(json!({"ids": [ids[0], "nothing", ids[0]]})).await.ok(200);
    log.holds([is_read(&alice, vec![ids[0]], false)]).await;
    read(json!({"ids": [ids[0]]})).await.ok(200);
    log.holds([]).await;
    bob.post("/notifications/read", json!({"ids": ids})).await.ok(200);
    log.holds([]).await;
    read(json!({"ids": ids})).await.ok(200);
    log.holds([is_read(&alice, ids[1..].to_vec(), false)]).await;
    assert_eq!(read(json!({"all": true})).await.ok(200)["unread_count"], 0);
    log.holds([is_read(&alice, Vec::new(), true)]).await;
}
