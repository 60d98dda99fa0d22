//! Tokens, client frames and what answers them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::socket::{open, refused, request};
use crate::support::{Actor, Answer, TestApp};

/// What natter answers to the header.
async fn header_refused(app: &TestApp, header: &str) -> Answer {
    refused(request(&app.url, "").header("authorization", header)).await
}

/// A pair of tokens that are newer.
async fn refreshed(actor: &Actor) -> Actor {
    let input = json!({"refresh_token": actor.refresh_token});
    let pair = actor.post("/token/refresh", input).await.ok(200);
    let text = |name: &str| pair[name].as_str().expect("a token").to_owned();
    let mut actor = actor.clone();
    (actor.token, actor.refresh_token) = (text("access_token"), text("refresh_token"));
    actor
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

#[tokio::test]
async fn a_bad_token_in_the_header_is_refused_by_http() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let gone = app.login(&ada.email, &ada.password).await;
    gone.post("/logout", json!({})).await.ok(204);
    for (header, code) in [
        ("Basic YTpi".to_owned(), "missing_token"),
        ("Bearer nonsense".to_owned(), "invalid_token"),
        (format!("Bearer {}", gone.token), "session_revoked"),
    ] {
        let answer = header_refused(&app, &header).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        answer.problem(401, code);
    }
    app.advance(Duration::from_hours(1));
    ada.socket_refused("").await.problem(401, "token_expired");
    let ada = refreshed(&ada).await;
    let socket = ada.socket().await;
    assert_eq!(socket.ready["heartbeat_seconds"], 25);
    ada.socket_refused("?since=a&since=b").await.problem(400, "invalid_query");
}

#[tokio::test]
async fn a_token_may_come_in_the_first_frame() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let mut socket = app.socket().await;
    // Nobody is there yet who could be answered.
    socket.send(json!({"type": "ping"})).await;
    socket.send(json!({"type": "typing", "conversation_id": ada.id})).await;
    socket.quiet(Duration::from_millis(200)).await;
    let ready = socket.show(&ada.token).await;
    assert_eq!((&ready["user_id"], &ready["recovered"]), (&json!(ada.id), &Value::Null));
    let sent = bob.send(&ada, "hello").await;
    assert_eq!(socket.expect("message.created").await, sent);
    let seen = socket.last_id();
    let missed = bob.send(&ada, "missed").await;
    socket.expect("message.created").await;
    // What the frame says of the past wins over the query.
    for (query, since) in
        [(format!("?since={seen}"), Value::Null), ("?since=x".into(), json!(seen))]
    {
        let mut back = open(request(&app.url, &query)).await.unwrap_or_else(|it| panic!("{it:?}"));
        back.send(json!({"type": "auth", "token": ada.token, "since": since})).await;
        assert_eq!(back.expect("ready").await["recovered"], true);
        assert_eq!(back.expect("message.created").await, missed);
    }
}

#[tokio::test]
async fn a_first_frame_with_a_bad_token_closes() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let gone = app.login(&ada.email, &ada.password).await;
    gone.post("/logout", json!({})).await.ok(204);
    for token in ["", "nonsense", &gone.token] {
        let mut socket = app.socket().await;
        socket.send(auth(token)).await;
        assert_eq!(socket.closed().await, 4401, "{token}");
    }
    app.advance(Duration::from_hours(1));
    let mut socket = app.socket().await;
    socket.send(auth(&ada.token)).await;
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test]
async fn who_shows_no_token_is_gone_in_five_seconds() {
    let app = TestApp::spawn().await;
    let begun = tokio::time::Instant::now();
    let mut socket = app.socket().await;
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.closed().await, 4408);
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_newer_token_keeps_a_socket_and_none_ends_it() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let (mut kept, mut lost) = (ada.socket().await, ada.socket().await);
    app.advance(Duration::from_mins(59));
    let ada = refreshed(&ada).await;
    kept.send(auth(&ada.token)).await;
    kept.ping().await;
    app.advance(Duration::from_mins(1));
    assert_eq!(lost.closed().await, 4401);
    kept.quiet(Duration::from_millis(700)).await;
    kept.ping().await;
    app.advance(Duration::from_mins(59));
    assert_eq!(kept.closed().await, 4401);
}

#[tokio::test]
async fn a_socket_stays_whose_it_is() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let tablet = app.login(&ada.email, &ada.password).await;
    for other in [&bob.token, &tablet.token, &"nonsense".to_owned()] {
        let mut socket = ada.socket().await;
        socket.send(auth(&ada.token)).await;
        socket.ping().await;
        socket.send(auth(other)).await;
        assert_eq!(socket.closed().await, 4401);
    }
}

#[tokio::test]
async fn pings_are_answered_and_unknown_frames_are_not() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    for unknown in [json!({"type": "tomorrow"}), json!({"type": "message.created", "data": {}})] {
        socket.send(unknown).await;
    }
    socket.send(json!({"type": "typing", "conversation_id": "no id"})).await;
    socket.send(json!({"type": "delivered", "conversation_id": "no id", "seq": 3})).await;
    socket.send(json!({"type": "ping", "data": {"n": 1}, "id": 7})).await;
    let pong = socket.next().await;
    let now = app.clock().now().to_string();
    assert_eq!(pong, json!({"type": "pong", "id": null, "at": now, "data": {}}));
}

#[tokio::test]
async fn what_is_no_frame_of_ours_closes() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let deep = format!(r#"{{"type":"ping","deep":{}{}}}"#, "[".repeat(32), "]".repeat(32));
    for bad in [
        "ping",
        "",
        "[]",
        "\"ping\"",
        "null",
        "{}",
        r#"{"type":"ping""#,
        r#"{"type":1}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","n":NaN}"#,
        r#"{"type":"auth","token":{"$ne":null}}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"typing","conversation_id":7}"#,
        r#"{"type":"delivered","conversation_id":"x","seq":"1"}"#,
        &deep,
    ] {
        let mut socket = ada.socket().await;
        socket.send_raw(bad).await;
        assert_eq!(socket.closed().await, 4400, "{bad}");
    }
    let mut socket = ada.socket().await;
    socket.send_raw(br#"{"type":"ping"}"#.to_vec()).await;
    assert_eq!(socket.closed().await, 4400, "bytes");
    // It is the same before the token.
    let mut socket = app.socket().await;
    socket.send_raw("nonsense").await;
    assert_eq!(socket.closed().await, 4400);
}
