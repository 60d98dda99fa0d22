//! No request reads a whole collection, or more of one than it shows.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, TestApp};

#[tokio::test]
async fn friends_groups_and_notifications_are_found_by_keys() {
    let app = TestApp::spawn().await;
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(app.user(&format!("user{n}")).await);
    }
    assert!(bounded(&app, befriend_and_gather(&people)).await > 100);
}

#[tokio::test]
async fn blocks_and_roles_are_found_by_keys() {
    let app = TestApp::spawn().await;
    let mut people = Vec::new();
    for n in 0..4 {
        people.push(app.user(&format!("user{n}")).await);
    }
    assert!(bounded(&app, block_and_hand_over(&people)).await > 50);
}

#[tokio::test]
async fn accounts_and_sessions_are_found_by_keys() {
    let app = TestApp::spawn().await;
    for n in 0..15 {
        app.user(&format!("user{n}")).await;
    }
    assert!(bounded(&app, come_and_go(&app)).await > 50);
}

/// Expects each query of a story to read ten documents and keys at most; says how many there were.
async fn bounded(app: &TestApp, story: impl Future<Output = ()>) -> usize {
    let database = app.database().await;
    database.run_command(doc! { "profile": 2 }).await.expect("the profiler is on");
    story.await;
    database.run_command(doc! { "profile": 0 }).await.expect("the profiler is off");
    let rows = database.collection::<Document>("system.profile");
    // Change streams read on in the oplog; nothing else here takes more than one batch.
    let planned = doc! { "planSummary": { "$exists": true }, "op": { "$ne": "getmore" } };
    let all = rows.find(planned).await.expect("a cursor");
    let all: Vec<Document> = all.try_collect().await.expect("all of it");
    for query in &all {
        // The stream of ended sessions follows the log of changes, not a collection.
        if query.to_string().contains("$changeStream") {
            continue;
        }
        // An instance looks once after its start for keys of an earlier version: no request does.
        if query.to_string().contains(r"[^\x00-\x7f]") {
            continue;
        }
        let plan = query.get_str("planSummary").expect("text");
        let read = ["docsExamined", "keysExamined"].map(|name| query.get_i32(name).unwrap_or(0));
        let bounded = !plan.contains("COLLSCAN") && read.iter().all(|read| *read <= 10);
        assert!(bounded, "{plan}, {read:?}: {}", query.get("command").expect("it"));
    }
    all.len()
}

/// A bit of everything about accounts and sessions.
async fn come_and_go(app: &TestApp) {
    let ada = app.user("ada").await;
    app.post("/signup", json!({"username": "Ada", "email": "x@y.z", "password": "12345678"})).await;
    app.sign_up("bob").await;
    app.post("/verify/resend", json!({"email": "bob@example.com"})).await.ok(202);
    app.mail("bob@example.com", 2).await;
    app.advance(Duration::from_mins(2));
    app.post("/token/refresh", json!({"refresh_token": ada.refresh_token})).await.ok(200);
    app.post("/token/refresh", json!({"refresh_token": ada.refresh_token})).await.ok(200);
    let change = json!({"username": "countess", "email": "bob@example.com"});
    ada.put("/profile", change.clone()).await.ok(200);
    ada.put("/profile", change).await.ok(200);
    let token = app.mail("bob@example.com", 3).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    for query in ["/users?q=user&limit=2", "/sessions?limit=1"] {
        app.login("bob@example.com", &ada.password).await;
        let cursor = ada.get(query).await.ok(200)["next_cursor"].as_str().expect("more").to_owned();
        ada.get(&format!("{query}&cursor={cursor}")).await.ok(200);
    }
    ada.get(&format!("/users/{}", ada.id)).await.ok(200);
    ada.delete("/sessions").await.ok(204);
    ada.post("/logout", Value::Null).await.ok(204);
}

/// A bit of everything about friends, groups and notifications.
async fn befriend_and_gather(people: &[Actor]) {
    let alice = &people[0];
    for other in &people[1..4] {
        alice.befriend(other).await;
    }
    let last = json!({"friend_user_id": people[4].id});
    for action in ["add", "remove", "add"] {
        alice.post(&format!("/friends/{action}"), last.clone()).await;
    }
    let mut groups = Vec::new();
    for n in 0..3 {
        groups.push(alice.group(&format!("group {n}"), &people[1..3]).await);
    }
    let (group, user) = (&groups[0], json!({"user_id": people[3].id}));
    for action in ["add", "remove", "add"] {
        alice.post(&format!("/groups/{group}/{action}"), user.clone()).await;
    }
    alice.put(&format!("/groups/{group}"), json!({"group_name": "x"})).await.ok(200);
    alice.get(&format!("/groups/{group}")).await.ok(200);
    alice.post(&format!("/groups/{group}/leave"), Value::Null).await.ok(200);
    for list in ["/friends?limit=1", "/groups?limit=1", "/notifications?limit=1"] {
        let mut path = list.to_owned();
        while let Some(cursor) = alice.get(&path).await.ok(200)["next_cursor"].as_str() {
            path = format!("{list}&cursor={cursor}");
        }
    }
    people[1].get("/notifications?unread=true&limit=1").await.ok(200);
    people[1].post("/notifications/read", json!({"all": true})).await.ok(200);
}

/// A bit of everything about blocks and roles.
async fn block_and_hand_over(people: &[Actor]) {
    let alice = &people[0];
    for other in &people[1..] {
        other.befriend(alice).await;
        other.send(alice, "hi").await;
        for (one, two) in [(alice, other), (other, alice), (alice, other)] {
            one.post("/blocks", json!({"user_id": two.id})).await.ok(201);
        }
    }
    let mut path = "/blocks?limit=1".to_owned();
    while let Some(cursor) = alice.get(&path).await.ok(200)["next_cursor"].as_str() {
        path = format!("/blocks?limit=1&cursor={cursor}");
    }
    let body = json!({"recipient_user_id": people[1].id, "message": "hi"});
    alice.post("/messages", body).await.problem(403, "recipient_unavailable");
    for other in &people[1..] {
        for (one, two) in [(alice, other), (other, alice)] {
            one.delete(&format!("/blocks/{}", two.id)).await.ok(204);
        }
    }
    let mut groups = Vec::new();
    for n in 0..3 {
        groups.push(alice.group(&format!("group {n}"), &people[1..]).await);
    }
    let group = &groups[0];
    for role in ["admin", "member", "owner"] {
        let path = format!("/groups/{group}/members/{}", people[1].id);
        alice.put(&path, json!({"role": role})).await.ok(200);
    }
    alice.post(&format!("/groups/{group}/leave"), Value::Null).await.ok(200);
    people[1].delete(&format!("/groups/{group}")).await.ok(204);
}
