//! GET /events: the same as over a socket, as server-sent events.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::stream::{A_WHILE, EventStream, client};
use crate::support::{Answer, TestApp};

/// HTTP/1.1, and h2.
fn clients() -> [Client; 2] {
    [client(true), client(false)]
}

#[tokio::test]
async fn a_stream_tells_what_a_socket_does() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    for http in clients() {
        let mut stream = bob.stream(&http, "").await;
        let ready = stream.next().await;
        assert_eq!(ready["type"], "ready");
        assert_eq!((&ready["data"]["recovered"], &ready["id"]), (&Value::Null, &Value::Null));
        assert_eq!(ready["data"]["user_id"], bob.id.as_str());
        assert_eq!(stream.retry, Some(1000));
        // Who is cut off now comes back with where it began.
        assert_eq!(ready["data"]["last_event_id"], stream.last.as_str());
        let before = stream.last.clone();
        let sent = alice.send(&bob, "grüße, 👋\n\nand two lines").await;
        let told = stream.next().await;
        assert_eq!(told["data"], sent);
        assert_eq!(told["id"], stream.last.as_str());
        assert_eq!(socket.expect("message.created").await, sent);
        assert_eq!(socket.last_id(), stream.last);
        drop(stream);
        let missed = alice.send(&bob, "missed").await;
        assert_eq!(socket.expect("message.created").await, missed);
        let mut back = bob.stream(&http, &before).await;
        assert_eq!(back.next().await["data"]["recovered"], true);
        // Until the first of what was missed is there, the client is where it was.
        assert_eq!(back.last, "");
        assert_eq!(
            [back.next().await, back.next().await].map(|it| it["data"].clone()),
            [sent, missed]
        );
        let lost = bob.stream(&http, "of another service").await.next().await;
        assert_eq!(lost["data"]["recovered"], false);
        let both = bob.stream_request(&http, "?since=x").header("last-event-id", &before);
        let mut both = EventStream::open(both).await.expect("a stream");
        assert_eq!(both.next().await["data"]["recovered"], true, "the header wins");
        let query = bob.stream_request(&http, &format!("?since={before}"));
        let mut query = EventStream::open(query).await.expect("a stream");
        assert_eq!(query.next().await["data"]["recovered"], true);
    }
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_limits_of_requests() {
    let second = Duration::from_secs(1);
    let app = TestApp::with(|settings| {
        settings.server.request_seconds = second;
        settings.server.idle_seconds = second;
        settings.server.header_seconds = second;
    })
    .await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let [one, two] = clients();
    let mut streams = [bob.stream(&one, "").await, bob.stream(&two, "").await];
    for stream in &mut streams {
        stream.until("ready").await;
    }
    sleep(A_WHILE).await;
    let sent = alice.send(&bob, "still there?").await;
    for stream in &mut streams {
        assert_eq!(stream.until("message.created").await, sent);
        assert_eq!(stream.beats, 0);
    }
}

#[tokio::test]
async fn a_quiet_stream_beats() {
    let app = TestApp::with(|settings| {
        settings.realtime.heartbeat_seconds = Duration::from_secs(1);
    })
    .await;
    let alice = app.user("alice").await;
    for http in clients() {
        let mut stream = alice.stream(&http, "").await;
        assert_eq!(stream.until("ready").await["heartbeat_seconds"], 1);
        stream.beat().await;
        stream.beat().await;
    }
}

#[tokio::test]
async fn ten_connections_are_the_most_and_who_goes_makes_room() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for http in clients() {
        let mut sockets = vec![alice.socket().await, alice.socket().await];
        let mut streams = Vec::new();
        while sockets.len() + streams.len() < 10 {
            let mut stream = alice.stream(&http, "").await;
            stream.until("ready").await;
            streams.push(stream);
        }
        let refused = EventStream::open(alice.stream_request(&http, "")).await;
        let refused = refused.err().expect("a refusal");
        assert_eq!(refused.header("retry-after"), "5");
        refused.problem(429, "rate_limited");
        // A client that is gone is noticed at once, not only at the next heartbeat.
        drop(streams.pop());
        let back = loop {
            match EventStream::open(alice.stream_request(&http, "")).await {
                Ok(stream) => break stream,
                Err(answer) => answer.problem(429, "rate_limited"),
            };
            sleep(Duration::from_millis(20)).await;
        };
        drop((back, streams, sockets.drain(..)));
        // The next protocol begins with none.
        while EventStream::open(alice.stream_request(&http, "")).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn head_opens_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for _ in 0..12 {
        let head = Answer::of(alice.request("HEAD", "/events")).await;
        assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
        assert!(head.body.is_empty());
    }
    let socket = alice.socket_request("").build().expect("a request");
    let url = socket.url().clone();
    let mut head = client(true).head(url);
    for (name, value) in socket.headers() {
        head = head.header(name, value);
    }
    assert_eq!(Answer::of(head).await.status, 426);
    for http in clients() {
        alice.stream(&http, "").await.until("ready").await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for http in clients() {
        let phone = app.login(&alice.email, &alice.password).await;
        let mut stream = phone.stream(&http, "").await;
        let session = stream.until("ready").await["session_id"].take();
        phone.post("/logout", json!({})).await;
        let last = stream.rest().await;
        assert_eq!(last.len(), 1, "{last:?}");
        assert_eq!(
            (&last[0]["type"], &last[0]["data"]["session_id"]),
            (&json!("session.ended"), &session)
        );
        let refused = EventStream::open(phone.stream_request(&http, "")).await;
        refused.err().expect("a refusal").problem(401, "session_revoked");
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_server_leaves() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let [one, two] = clients();
    let mut streams = [alice.stream(&one, "").await, alice.stream(&two, "").await];
    for stream in &mut streams {
        stream.until("ready").await;
    }
    app.shutdown.begin();
    for stream in streams {
        assert_eq!(stream.rest().await, Vec::<Value>::new());
    }
}

#[tokio::test]
async fn who_does_not_read_is_sent_away_and_slows_nobody() {
    let app = TestApp::with(|settings| {
        settings.admin.addr = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    // A window that a few messages fill; they wait then, and nobody reads.
    let http = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .http2_initial_stream_window_size(16 * 1024)
        .http2_initial_connection_window_size(64 * 1024);
    let slow = bob.stream(&http.build().expect("a client"), "").await;
    let mut quick = bob.stream(&client(false), "").await;
    quick.until("ready").await;
    let text = "x".repeat(8000);
    for _ in 0..40 {
        let sent = alice.send(&bob, &text).await;
        assert_eq!(quick.until("message.created").await, sent);
    }
    let admin = app.admin.clone().expect("an admin listener");
    let closed = "natter_sockets_closed_total{code=\"4413\"} 1";
    for _ in 0..200 {
        let metrics = app.http().get(format!("{admin}/metrics")).send().await.expect("an answer");
        if metrics.text().await.expect("metrics").contains(closed) {
            drop(slow);
            let sent = alice.send(&bob, "on we go").await;
            assert_eq!(quick.until("message.created").await, sent);
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("whoever does not read is still there after 20 s");
}

#[tokio::test]
async fn pages_of_named_origins_may_come_back() {
    let app = TestApp::with(|settings| {
        settings.server.cors_origins = vec!["https://app.example".parse().expect("an origin")];
    })
    .await;
    let preflight = app
        .request("OPTIONS", "/events")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization,last-event-id");
    let answer = Answer::of(preflight).await;
    assert!(answer.header("access-control-allow-headers").contains("last-event-id"));
}
