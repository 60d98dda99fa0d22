//! GET /sync: the event log over REST.

use serde_json::{Value, json};

use crate::support::app::TestApp;

fn ids(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn the_log_is_what_a_socket_was_told() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    let begin = socket.ready["last_event_id"].as_str().expect("an id").to_owned();
    let mut told = Vec::new();
    for n in 0..25 {
        alice.send(&bob, &format!("message {n}")).await;
        told.push(socket.next().await);
    }
    let whole = bob.get("/sync?limit=100").await.ok(200);
    assert_eq!(whole["recovered"], Value::Null);
    let tail = &whole["events"].as_array().expect("events")[..];
    assert_eq!(&tail[tail.len() - told.len()..], told);

    let (mut since, mut walked) = (begin, Vec::new());
    loop {
        let page = bob.get(&format!("/sync?limit=7&since={since}")).await.ok(200);
        assert_eq!(page["recovered"], json!(true));
        since = page["next"].as_str().expect("an id").to_owned();
        let events = page["events"].as_array().expect("events");
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 7);
        walked.extend(events.iter().cloned());
    }
    assert_eq!(walked, told);
    alice.send(&bob, "later").await;
    let later = socket.next().await;
    let page = bob.get(&format!("/sync?since={since}")).await.ok(200);
    assert_eq!(page["events"], json!([later]));
    assert_eq!(page["next"], later["id"]);
}

#[tokio::test]
async fn what_is_not_to_be_had_whole_is_not_had_in_part() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    alice.send(&bob, "one").await;
    let one = socket.next().await;
    for since in ["x", "000000000000000000000001", "ffffffffffffffffffffffff"] {
        let page = bob.get(&format!("/sync?since={since}")).await.ok(200);
        assert_eq!((&page["events"], &page["recovered"]), (&json!([]), &json!(false)), "{since}");
        let next = page["next"].as_str().expect("an id");
        assert!(next >= one["id"].as_str().expect("an id"), "{page}");
    }
    bob.get("/sync?limit=0").await.invalid(&["limit"]);
    bob.get("/sync?limit=101").await.invalid(&["limit"]);
    bob.get("/sync?from=1").await.invalid(&["from"]);
    app.get("/sync").await.problem(401, "missing_token");
}

#[tokio::test]
async fn nothing_of_a_group_that_one_has_left_is_in_the_log() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("walks", std::slice::from_ref(&bob)).await;
    let mut socket = bob.socket().await;
    for n in 0..10 {
        alice.tell(&group, &format!("message {n}")).await;
        socket.expect("message.created").await;
    }
    alice.post(&format!("/groups/{group}/remove"), json!({"user_id": bob.id})).await.ok(200);
    socket.expect("group.member_removed").await;
    let page = bob.get("/sync?limit=3").await.ok(200);
    let kinds: Vec<_> = page["events"].as_array().expect("events").iter().collect();
    assert!(kinds.iter().all(|event| event["data"]["conversation_id"] != json!(group)), "{page}");
    let page = bob.get("/sync?limit=100").await.ok(200);
    let last = page["events"].as_array().expect("events").last().expect("one").clone();
    assert_eq!(last["type"], "group.member_removed");
    assert_eq!(ids(&page).last().copied(), last["id"].as_str());
}

#[tokio::test]
async fn a_log_keeps_the_last_thousand_events() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob").await;
    let mut socket = bob.socket().await;
    let begin = socket.ready["last_event_id"].as_str().expect("an id").to_owned();
    let (mut first, mut second) = (String::new(), String::new());
    for n in 0..1001 {
        bob.send(&bob, &format!("note {n}")).await;
        socket.expect("message.created").await;
        match n {
            0 => first = socket.last_id(),
            1 => second = socket.last_id(),
            _ => {}
        }
    }
    // Whoever has the first has missed no more than is kept.
    let page = bob.get(&format!("/sync?since={first}&limit=1")).await.ok(200);
    assert_eq!((&page["recovered"], ids(&page)), (&json!(true), vec![second.as_str()]));
    bob.send(&bob, "one more").await;
    socket.expect("message.created").await;
    for since in [&begin, &first] {
        let page = bob.get(&format!("/sync?since={since}")).await.ok(200);
        assert_eq!((&page["recovered"], &page["events"]), (&json!(false), &json!([])));
    }
    app.advance(std::time::Duration::from_hours(25));
    let bob = app.login(&bob.email, &bob.password).await;
    let page = bob.get(&format!("/sync?since={second}")).await.ok(200);
    assert_eq!((&page["recovered"], &page["events"]), (&json!(false), &json!([])));
}
