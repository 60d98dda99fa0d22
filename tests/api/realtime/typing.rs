//! Typing: who is told, and who is not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::socket::Socket;

const MOMENT: Duration = Duration::from_millis(700);

/// The time in which one frame of a user and conversation is told.
const SPAN: Duration = Duration::from_millis(1050);

async fn types(socket: &mut Socket, conversation: &Value) {
    socket.send(json!({"type": "typing", "conversation_id": conversation})).await;
}

#[tokio::test]
async fn typing_reaches_the_others_once_in_a_while() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let carol = app.user("carol").await;
    let direct = alice.send(&bob, "hi").await["conversation_id"].take();
    let group = json!(alice.group("g", &[bob.clone(), carol.clone()]).await);
    let (mut here, mut there) = (alice.socket().await, other.seen_by(&alice).socket().await);
    let mut bobs = [bob.socket().await, other.seen_by(&bob).socket().await];
    let mut carols = other.seen_by(&carol).socket().await;
    // Few, so that all come within a second.
    for _ in 0..2 {
        types(&mut here, &direct).await;
        types(&mut there, &direct).await;
    }
    let told = json!({"conversation_id": direct, "user_id": alice.id});
    for socket in &mut bobs {
        assert_eq!(socket.expect("typing").await, told);
        socket.quiet(MOMENT).await;
    }
    types(&mut there, &group).await;
    let told = json!({"conversation_id": group, "user_id": alice.id});
    for socket in bobs.iter_mut().chain([&mut carols]) {
        assert_eq!(socket.expect("typing").await, told);
    }
    tokio::time::sleep(SPAN).await;
    types(&mut here, &direct).await;
    assert_eq!(bobs[1].expect("typing").await["conversation_id"], direct);
    types(&mut bobs[0], &direct).await;
    assert_eq!(here.expect("typing").await["user_id"], bob.id);
    assert_eq!(there.expect("typing").await["user_id"], bob.id);
    for socket in [&mut here, &mut there, &mut carols] {
        socket.quiet(MOMENT).await;
    }
}

#[tokio::test]
async fn who_is_not_in_it_neither_tells_nor_is_told() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let direct = alice.send(&bob, "hi").await["conversation_id"].take();
    let group = alice.group("g", &[bob.clone(), eve.clone()]).await;
    let out = json!({"user_id": eve.id});
    alice.post(&format!("/groups/{group}/remove"), out).await.ok(200);
    tokio::time::sleep(MOMENT).await;
    let group = json!(group);
    let (mut alices, mut bobs, mut eves) =
        (alice.socket().await, bob.socket().await, eve.socket().await);
    // Also of a conversation that nobody has begun, and of none.
    for conversation in [&direct, &group, &json!(alice.id), &json!("none")] {
        types(&mut eves, conversation).await;
    }
    for socket in [&mut alices, &mut bobs] {
        socket.quiet(MOMENT).await;
    }
    for conversation in [&direct, &group] {
        types(&mut alices, conversation).await;
        assert_eq!(bobs.expect("typing").await["conversation_id"], *conversation);
    }
    eves.quiet(MOMENT).await;
    let own = alice.send(&alice, "a note").await["conversation_id"].take();
    types(&mut alices, &own).await;
    alices.frames_until(|frame| frame["type"] == "message.created").await;
    alices.quiet(MOMENT).await;
}

#[tokio::test]
async fn nothing_is_told_across_a_block() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let direct = alice.send(&bob, "hi").await["conversation_id"].take();
    let group = json!(alice.group("g", &[bob.clone(), carol.clone()]).await);
    alice.post("/blocks", json!({"user_id": bob.id})).await.ok(201);
    let (mut alices, mut bobs, mut carols) =
        (alice.socket().await, bob.socket().await, carol.socket().await);
    for socket in [&mut alices, &mut bobs] {
        types(socket, &direct).await;
        types(socket, &group).await;
        assert_eq!(carols.expect("typing").await["conversation_id"], group);
    }
    for socket in [&mut alices, &mut bobs, &mut carols] {
        socket.quiet(MOMENT).await;
    }
    alice.delete(&format!("/blocks/{}", bob.id)).await;
    tokio::time::sleep(SPAN).await;
    types(&mut alices, &direct).await;
    assert_eq!(bobs.expect("typing").await["user_id"], alice.id);
}
