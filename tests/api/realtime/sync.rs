//! GET /sync: the same events as over a socket, page by page.

use std::time::Duration;

use futures_util::future::join_all;
use natter::config::Secret;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::servers::Server;
use crate::support::socket::Socket;
use crate::support::{Actor, TestApp, frames};

/// One page; its frames must be as documented, and in order.
async fn page(by: &Actor, since: &str, limit: usize) -> Value {
    let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
    let page = by.get(&format!("/sync?limit={limit}{since}")).await.ok(200);
    let events = events(&page);
    for frame in events {
        frames::check("a page", frame);
    }
    assert!(events.len() <= limit, "{page}");
    assert!(events.windows(2).all(|two| two[0]["id"].as_str() < two[1]["id"].as_str()), "{page}");
    page
}

fn events(page: &Value) -> &[Value] {
    page["events"].as_array().expect("events")
}

fn next(page: &Value) -> String {
    page["next"].as_str().expect("where to go on").to_owned()
}

/// Everything after `since`, in pages of so many, until nothing is left.
async fn rest(by: &Actor, since: &str, limit: usize) -> (Vec<Value>, String) {
    let (mut all, mut since) = (Vec::new(), since.to_owned());
    loop {
        let page = page(by, &since, limit).await;
        assert_eq!(page["recovered"].is_null(), since.is_empty(), "{page}");
        assert_ne!(page["recovered"], false, "{page}");
        all.extend(events(&page).iter().cloned());
        if events(&page).is_empty() && next(&page) == since {
            return (all, since);
        }
        since = next(&page);
    }
}

/// What a socket is told up to a message with this text.
async fn told(socket: &mut Socket, text: &str) -> Vec<Value> {
    let is_last =
        |frame: &Value| frame["type"] == "message.created" && frame["data"]["message"] == text;
    let frames = socket.frames_until(is_last).await.into_iter();
    frames.filter(|frame| !frame["id"].is_null()).collect()
}

#[tokio::test]
async fn polling_gives_what_a_socket_is_told_each_once_and_in_order() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    // A log that nothing was ever written to has a place to go on from.
    let empty = page(&bob, "", 50).await;
    assert_eq!((events(&empty).len(), &empty["recovered"]), (0, &Value::Null));
    let (mut polled, mut expected, mut since) = (Vec::new(), Vec::new(), next(&empty));
    for round in 0..3 {
        for n in 0..4 {
            alice.send(&bob, &format!("{round}, {n}")).await;
        }
        alice.befriend(&bob).await;
        bob.post("/friends/remove", json!({"friend_user_id": alice.id})).await.ok(200);
        let last = format!("last of {round}");
        alice.send(&bob, &last).await;
        expected.extend(told(&mut socket, &last).await);
        let (more, on) = rest(&bob, &since, 3).await;
        polled.extend(more);
        since = on;
    }
    // What is read later is shown as it is by then, so that only the events are the same.
    let which = |events: &[Value]| -> Vec<(String, String)> {
        events.iter().map(|it| (it["id"].to_string(), it["type"].to_string())).collect()
    };
    assert_eq!(which(&polled), which(&expected));
    // From the start it is all there once more, and so it is after any of the events.
    assert_eq!(which(&rest(&bob, "", 100).await.0), which(&expected));
    let known = expected[5]["id"].as_str().expect("an id");
    assert_eq!(which(&rest(&bob, known, 4).await.0), which(&expected[6..]));
    assert!(rest(&alice, "", 100).await.0.iter().all(|it| it["type"] != "friend.requested"));
}

#[tokio::test]
async fn what_is_not_to_be_had_whole_is_not_told_at_all() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    alice.send(&bob, "before").await;
    told(&mut socket, "before").await;
    let ancient = format!("{:016x}{:08x}", 1_000_u64 << 32, 1);
    let to_come = format!("{:016x}{:08x}", u64::MAX, 1);
    for since in ["x", "of%20another%20service", &ancient, &to_come, &"0".repeat(300)] {
        let page = page(&bob, since, 50).await;
        assert_eq!((&page["recovered"], &page["events"]), (&json!(false), &json!([])), "{since}");
        let text = format!("after {}", &since[..1]);
        alice.send(&bob, &text).await;
        let expected = told(&mut socket, &text).await;
        assert_eq!(rest(&bob, &next(&page), 50).await.0, expected, "{since}");
    }
}

#[tokio::test]
async fn what_may_no_longer_be_seen_is_passed_over() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let bob_id = bob.id.clone();
    let mut socket = bob.socket().await;
    let start = next(&page(&bob, "", 50).await);
    let group = alice.group("tea", std::slice::from_ref(&bob)).await;
    for n in 0..5 {
        alice.tell(&group, &format!("secret {n}")).await;
    }
    alice.send(&bob, "to you").await;
    told(&mut socket, "to you").await;
    assert!(rest(&bob, &start, 50).await.0.iter().any(|it| it["data"]["message"] == "secret 4"));
    alice.post(&format!("/groups/{group}/remove"), json!({"user_id": bob_id})).await.ok(200);
    alice.send(&bob, "and now").await;
    told(&mut socket, "and now").await;
    // In pages of one, so that some are empty though there are more.
    let mut kinds = Vec::new();
    for event in rest(&bob, &start, 1).await.0 {
        assert!(!event.to_string().contains("secret"), "{event}");
        kinds.push(event["type"].as_str().expect("a type").to_owned());
    }
    let of_group: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("group.")).collect();
    assert_eq!(of_group, ["group.member_removed"], "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "message.created").count(), 2, "{kinds:?}");
}

#[tokio::test]
async fn the_last_thousand_are_kept_and_no_more() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut socket = alice.socket().await;
    let texts: Vec<String> = (0..1010).map(|n| format!("note {n}")).collect();
    for some in texts.chunks(50) {
        join_all(some.iter().map(|text| alice.send(&alice, text))).await;
    }
    alice.send(&alice, "the last").await;
    let all = told(&mut socket, "the last").await;
    let kept = &all[all.len() - 1000..];
    assert_eq!(rest(&alice, "", 100).await.0, kept);
    let id = |at: usize| all[at]["id"].as_str().expect("an id");
    // Whoever has seen the one before the first that is kept has missed nothing.
    assert_eq!(rest(&alice, id(all.len() - 1001), 100).await.0, kept);
    assert_eq!(page(&alice, id(all.len() - 1002), 100).await["recovered"], false);
}

#[tokio::test]
async fn without_redis_there_is_no_log_to_read() {
    let mut redis = Server::redis().await;
    let url = redis.url("redis");
    let app = TestApp::with(|settings| settings.redis.url = Secret::new(url)).await;
    let alice = app.user("alice").await;
    alice.send(&alice, "kept").await;
    redis.kill();
    let answer = alice.get("/sync").await;
    assert!(!answer.header("retry-after").is_empty());
    answer.problem(503, "unavailable");
    redis.start().await;
    // What that Redis has never had begins anew: from nothing, or from what was on its way.
    let mut back = alice.get("/sync").await;
    while back.status == 503 {
        sleep(Duration::from_millis(50)).await;
        back = alice.get("/sync").await;
    }
    let since = next(&back.ok(200));
    alice.send(&alice, "again").await;
    let mut found = rest(&alice, &since, 50).await.0;
    while found.iter().all(|it| it["data"]["message"] != "again") {
        sleep(Duration::from_millis(50)).await;
        found = rest(&alice, &since, 50).await.0;
    }
}
