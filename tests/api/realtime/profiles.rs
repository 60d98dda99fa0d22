//! `profile.updated` and `notification.read` on devices: live, missed, and over /sync.

use serde_json::{Value, json};

use crate::support::socket::Socket;
use crate::support::{Actor, TestApp};

async fn next_profile(device: &mut Socket) -> Value {
    let frames = device.frames_until(|frame| frame["type"] == "profile.updated").await;
    frames.last().expect("a frame")["data"].clone()
}

fn profile(actor: &Actor, name: &str) -> Value {
    let user = json!({"id": actor.id, "username": name, "profile_picture": null, "deleted": false});
    json!({"user": user})
}

/// The types of what a device hears before a message to itself.
async fn heard(device: &mut Socket, actor: &Actor) -> Vec<Value> {
    let mark = actor.send(actor, "up to here").await;
    let frames = device.frames_until(|frame| frame["data"]["id"] == mark["id"]).await;
    frames.iter().map(|frame| frame["type"].clone()).filter(|it| it != "message.created").collect()
}

#[tokio::test]
async fn another_name_comes_to_ones_own_devices_and_to_friends() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (eve, former) = (app.user("eve").await, app.user("former").await);
    alice.befriend(&bob).await;
    alice.befriend(&former).await;
    let asked = json!({"friend_user_id": alice.id});
    eve.post("/friends/add", asked).await.ok(201);
    alice.group("all", &[bob.clone(), eve.clone()]).await;
    former.post("/blocks", json!({"user_id": alice.id})).await.ok(201);
    // Remembered by both instances, as they were.
    for app in [&alice, &second.seen_by(&alice)] {
        app.get(&format!("/users/{}", alice.id)).await.ok(200);
    }
    let mut own = second.seen_by(&alice).socket().await;
    let mut friend = second.seen_by(&bob).socket().await;
    let (mut others, mut blockers) = (eve.socket().await, former.socket().await);
    alice.put("/profile", json!({"username": "alice-b"})).await.ok(200);
    assert_eq!(next_profile(&mut own).await, profile(&alice, "alice-b"));
    assert_eq!(next_profile(&mut friend).await, profile(&alice, "alice-b"));
    assert_eq!(heard(&mut others, &eve).await, [Value::Null; 0]);
    assert_eq!(heard(&mut blockers, &former).await, [Value::Null; 0]);

    // Who was away is told once, of what is so now, as long as they are friends.
    let last = friend.last_id();
    drop(friend);
    alice.put("/profile", json!({"username": "alice-c"})).await.ok(200);
    next_profile(&mut own).await;
    let mut back = bob.socket_since(&last).await;
    assert_eq!(next_profile(&mut back).await, profile(&alice, "alice-c"));
    let sync = bob.get(&format!("/sync?since={last}")).await.ok(200);
    assert_eq!(sync["events"][0]["data"], profile(&alice, "alice-c"));
    let removed = json!({"friend_user_id": alice.id});
    bob.post("/friends/remove", removed).await.ok(200);
    back.frames_until(|frame| frame["type"] == "friend.removed").await;
    let sync = bob.get(&format!("/sync?since={last}")).await.ok(200)["events"].take();
    let kinds: Vec<&Value> =
        sync.as_array().expect("events").iter().map(|it| &it["type"]).collect();
    assert_eq!(kinds, ["friend.removed"]);
}

#[tokio::test]
async fn what_one_device_marks_as_read_the_others_hear() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    bob.post("/friends/add", json!({"friend_user_id": alice.id})).await.ok(201);
    bob.send(&alice, "hi").await;
    let items = alice.get("/notifications").await.ok(200)["items"].take();
    let first = &items[0]["id"];
    let mut tablet = second.seen_by(&alice).socket().await;
    let mut others = bob.socket().await;
    let answer = alice.post("/notifications/read", json!({"ids": [first]})).await.ok(200);
    assert_eq!(answer, json!({"unread_count": 1}));
    let told = json!({"ids": [first], "all": false, "unread_count": 1});
    assert_eq!(tablet.expect("notification.read").await, told);
    alice.post("/notifications/read", json!({"all": true})).await.ok(200);
    let told = json!({"ids": [], "all": true, "unread_count": 0});
    assert_eq!(tablet.expect("notification.read").await, told);
    assert_eq!(heard(&mut others, &bob).await, [Value::Null; 0]);
    let last = tablet.last_id();
    bob.send(&alice, "ho").await;
    let last_item = alice.get("/notifications?unread=true").await.ok(200)["items"][0].take();
    alice.post("/notifications/read", json!({"ids": [last_item["id"]]})).await.ok(200);
    let mut back = alice.socket_since(&last).await;
    let frames = back.frames_until(|frame| frame["type"] == "notification.read").await;
    let told = json!({"ids": [last_item["id"]], "all": false, "unread_count": 0});
    assert_eq!(frames.last().expect("a frame")["data"], told);
}
