//! Every type of frame that the document names is one that a device is really told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::frames::DOCUMENT;
use crate::support::json_schema::resolve;
use crate::support::{Actor, Answer, TestApp};

/// The types that the server sends.
fn told() -> BTreeSet<&'static str> {
    let messages = DOCUMENT["operations"]["tell"]["messages"].as_array().expect("messages");
    let messages = messages.iter().map(|it| resolve(&DOCUMENT, resolve(&DOCUMENT, it)));
    messages.filter_map(|it| it["name"].as_str()).collect()
}

/// Types of which no device is told by what is done below: they have tests of their own.
const ELSEWHERE: [&str; 3] = ["conversation.delivered", "presence", "typing"];

#[tokio::test]
async fn every_type_of_the_table_is_seen() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (mut alices, mut bobs) = (alice.socket().await, bob.socket().await);
    alices.ping().await;
    let sent = alice.send(&bob, "hello").await;
    everything(&alice, &bob, &sent).await;
    let mut seen: BTreeSet<String> = ["ready", "pong"].map(str::to_owned).into();
    for (socket, by) in [(&mut alices, &bob), (&mut bobs, &alice)] {
        let other = if by.id == bob.id { &alice } else { &bob };
        let last = by.send(other, "the last").await;
        let is_last =
            |it: &Value| it["type"] == "message.created" && it["data"]["id"] == last["id"];
        let frames = socket.frames_until(is_last).await;
        seen.extend(frames.iter().map(|it| it["type"].as_str().expect("a type").to_owned()));
    }
    bob.post("/logout", json!({})).await;
    let end = bobs.frames_until(|frame| frame["type"] == "session.ended").await;
    assert_eq!(end.last().map(|frame| &frame["type"]), Some(&json!("session.ended")));
    seen.insert("session.ended".to_owned());
    let known: BTreeSet<String> = told().into_iter().map(str::to_owned).collect();
    let unseen: BTreeSet<&str> = told().into_iter().filter(|kind| !seen.contains(*kind)).collect();
    assert!(unseen.iter().all(|kind| ELSEWHERE.contains(kind)), "{unseen:?}");
    assert!(seen.is_subset(&known), "{seen:?}");
}

/// Does everything that others are told of.
async fn everything(alice: &Actor, bob: &Actor, sent: &Value) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let conversation = format!("/conversations/{}", text(&sent["conversation_id"]));
    let message = format!("{conversation}/messages/{}", text(&sent["id"]));
    let edit = alice.request("PATCH", &message).json(&json!({"message": "hello, hello"}));
    Answer::of(edit).await.ok(200);
    let reaction = format!("{message}/reactions/%F0%9F%91%8D");
    bob.put(&reaction, json!({})).await.ok(200);
    bob.delete(&reaction).await.ok(200);
    bob.post(&format!("{conversation}/read"), json!({"message_id": sent["id"]})).await.ok(200);
    bob.put(&format!("{conversation}/mute"), json!({"muted_until": "2999-01-01T00:00:00.000Z"}))
        .await
        .ok(200);
    bob.put(&format!("{conversation}/mute"), json!({"muted_until": null})).await.ok(200);
    alice.delete(&message).await.ok(204);
    alice.befriend(bob).await;
    bob.post("/notifications/read", json!({"all": true})).await.ok(200);
    bob.put("/profile", json!({"username": "bobby"})).await.ok(200);
    bob.post("/friends/remove", json!({"friend_user_id": alice.id})).await.ok(200);
    let group = alice.group("tea", &[]).await;
    let path = format!("/groups/{group}");
    alice.post(&format!("{path}/add"), json!({"user_id": bob.id})).await.ok(201);
    alice.put(&format!("{path}/members/{}", bob.id), json!({"role": "admin"})).await.ok(200);
    alice.put(&path, json!({"group_name": "coffee"})).await.ok(200);
    alice.post(&format!("{path}/remove"), json!({"user_id": bob.id})).await.ok(200);
    alice.delete(&path).await.ok(204);
}
