//! Who sees which frame: nothing of what is over from the moment that this is acknowledged, and
//! of everything only what REST shows.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::socket::Socket;
use crate::support::talk::Talk;
use crate::support::{Actor, Answer, TestApp};

/// What is on its way to the test when it reads an acknowledgement was told before that.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// How long nothing may come, with a hundred messages a second being sent.
const AFTERWARDS: Duration = Duration::from_millis(1200);

/// A group of three, of whom one has three devices on two instances.
struct Scene {
    app: TestApp,
    elsewhere: TestApp,
    owner: Actor,
    writer: Actor,
    bob: Actor,
    group: String,
    devices: Vec<Socket>,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::spawn().await;
        let elsewhere = app.second_instance().await;
        let (owner, writer) = (app.user("olga").await, app.user("writer").await);
        let bob = app.user("bob").await;
        let group = owner.group("talk", &[writer.clone(), bob.clone()]).await;
        let there = elsewhere.seen_by(&bob);
        let devices = vec![bob.socket().await, there.socket().await, there.socket().await];
        Self { app, elsewhere, owner, writer, bob, group, devices }
    }

    fn talk(&self) -> Talk {
        Talk::begin(&self.writer, json!({"group_id": self.group}))
    }

    /// Waits until each device hears the talk.
    async fn heard(&mut self) {
        for device in &mut self.devices {
            device.frames_until(|frame| frame["type"] == "message.created").await;
        }
    }

    /// Expects that from now on each device hears that it is over, once, and nothing else, not
    /// even by coming back.
    async fn is_over(&mut self, farewell: &str) {
        let devices = self.devices.iter_mut().map(|device| async move {
            let before = device.heard_for(ON_ITS_WAY).await;
            let after = device.heard_for(AFTERWARDS).await;
            let told = after.iter().filter(|it| it["type"] != farewell).collect::<Vec<_>>();
            assert!(told.is_empty(), "{told:?}");
            let all = before.iter().chain(&after).filter(|it| it["type"] == farewell);
            assert_eq!(all.count(), 1, "{after:?}");
        });
        join_all(devices).await;
    }
}

#[tokio::test]
async fn a_removed_member_hears_nothing_more() {
    let mut scene = Scene::new().await;
    let begin = scene.bob.socket().await.last_id();
    let talk = scene.talk();
    scene.heard().await;
    let path = format!("/groups/{}/remove", scene.group);
    let remove = json!({"user_id": scene.bob.id});
    scene.elsewhere.seen_by(&scene.owner).post(&path, remove).await.ok(200);
    scene.is_over("group.member_removed").await;
    // Whoever comes back is told no more than whoever stayed.
    let mut back = scene.bob.socket_since(&begin).await;
    assert_eq!(back.ready["recovered"], true);
    assert_eq!(back.next().await["type"], "group.member_removed");
    back.quiet(AFTERWARDS).await;
    talk.end().await;
    // Added again, everything that comes is theirs.
    let path = format!("/groups/{}/add", scene.group);
    scene.owner.post(&path, json!({"user_id": scene.bob.id})).await.ok(201);
    let sent = scene.owner.tell(&scene.group, "welcome back").await;
    for device in &mut scene.devices {
        device.frames_until(|frame| frame["type"] == "group.member_added").await;
        let frames = device.frames_until(|frame| frame["type"] == "message.created").await;
        assert_eq!(frames.last().expect("a frame")["data"], sent);
    }
}

#[tokio::test]
async fn who_leaves_hears_nothing_more() {
    let mut scene = Scene::new().await;
    let talk = scene.talk();
    scene.heard().await;
    let path = format!("/groups/{}/leave", scene.group);
    scene.bob.post(&path, json!({})).await.ok(200);
    scene.is_over("group.member_removed").await;
    talk.end().await;
}

#[tokio::test]
async fn nobody_hears_more_of_a_group_that_has_ended() {
    let mut scene = Scene::new().await;
    scene.devices.push(scene.app.seen_by(&scene.writer).socket().await);
    let talk = scene.talk();
    scene.heard().await;
    let path = format!("/groups/{}", scene.group);
    scene.owner.delete(&path).await.ok(204);
    scene.owner.get(&path).await.problem(404, "not_found");
    scene.is_over("group.deleted").await;
    talk.end().await;
}

#[tokio::test]
async fn a_block_stops_what_is_new_between_two() {
    let app = TestApp::spawn().await;
    let elsewhere = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, elsewhere.user("bob").await);
    let old = bob.send(&ada, "from before").await;
    let mut devices = vec![ada.socket().await, elsewhere.seen_by(&ada).socket().await];
    devices.extend([bob.socket().await, app.seen_by(&bob).socket().await]);
    let talk = Talk::begin(&ada, json!({"recipient_user_id": bob.id}));
    for device in &mut devices {
        device.frames_until(|frame| frame["type"] == "message.created").await;
    }
    bob.post("/blocks", json!({"user_id": ada.id})).await.ok(201);
    let silent = devices.iter_mut().map(|device| async move {
        device.heard_for(ON_ITS_WAY).await;
        device.quiet(AFTERWARDS).await;
    });
    join_all(silent).await;
    talk.end().await;
    // What is not new goes on.
    let path = |message: &Value, rest: &str| {
        let (conversation, id) = (&message["conversation_id"], &message["id"]);
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        format!("/conversations/{}/messages/{}{rest}", text(conversation), text(id))
    };
    bob.delete(&path(&old, "")).await.ok(204);
    for device in &mut devices {
        assert_eq!(device.expect("message.deleted").await["message_id"], old["id"]);
    }
    bob.delete(&format!("/blocks/{}", ada.id)).await.ok(204);
    let sent = ada.send(&bob, "again").await;
    for device in &mut devices {
        assert_eq!(device.expect("message.created").await, sent);
    }
}

#[tokio::test]
async fn who_comes_back_is_shown_nothing_of_what_is_gone() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let group = ada.group("talk", std::slice::from_ref(&bob)).await;
    let mut socket = bob.socket().await;
    ada.tell(&group, "first").await;
    socket.expect("message.created").await;
    let seen = socket.last_id();
    drop(socket);
    let (secret, slip) = (ada.tell(&group, "a secret").await, ada.tell(&group, "a slip").await);
    let path = |message: &Value| {
        format!("/conversations/{group}/messages/{}", message["id"].as_str().expect("an id"))
    };
    ada.delete(&path(&secret)).await.ok(204);
    let edit = json!({"message": "better"});
    Answer::of(ada.request("PATCH", &path(&slip)).json(&edit)).await.ok(200);
    let mut back = bob.socket_since(&seen).await;
    let gone = back.expect("message.created").await;
    assert_eq!((&gone["id"], &gone["message"]), (&secret["id"], &json!("")));
    assert!(gone["deleted_at"].is_string(), "{gone}");
    let better = back.expect("message.created").await;
    assert_eq!((&better["id"], &better["message"]), (&slip["id"], &json!("better")));
    assert_eq!(back.expect("message.deleted").await["message_id"], secret["id"]);
    assert_eq!(back.expect("message.updated").await, better);
}

#[tokio::test]
async fn each_is_shown_their_own_reactions_and_what_came_after_they_joined() {
    let app = TestApp::spawn().await;
    let (ada, bob, cy) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let group = ada.group("talk", std::slice::from_ref(&bob)).await;
    let old = ada.tell(&group, "from before").await;
    let path = format!("/conversations/{group}/messages/{}", old["id"].as_str().expect("an id"));
    bob.put(&format!("{path}/reactions/%F0%9F%91%8D"), json!({})).await.ok(200);
    let mut late = cy.socket().await;
    let input = json!({"user_id": cy.id});
    ada.post(&format!("/groups/{group}/add"), input).await.ok(201);
    let (mut adas, mut bobs) = (ada.socket().await, bob.socket().await);
    Answer::of(ada.request("PATCH", &path).json(&json!({"message": "new"}))).await.ok(200);
    for (actor, socket, reacted) in [(&ada, &mut adas, false), (&bob, &mut bobs, true)] {
        let shown = socket.expect("message.updated").await;
        assert_eq!(shown["reactions"], json!([{"emoji": "👍", "count": 1, "reacted": reacted}]));
        assert_eq!(shown, actor.get(&path).await.ok(200), "as REST shows it");
    }
    let sent = ada.tell(&group, "from after").await;
    let frames = late.frames_until(|frame| frame["type"] == "message.created").await;
    assert_eq!(frames.last().expect("a frame")["data"], sent, "{frames:?}");
    let replayed = cy.socket_since(late.ready["last_event_id"].as_str().expect("an id")).await;
    let mut replayed = replayed;
    let again = replayed.frames_until(|frame| frame["type"] == "message.created").await;
    assert_eq!(again, frames, "the same when it comes back");
}
