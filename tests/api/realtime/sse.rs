//! GET /events: what a socket would be told, as server-sent events.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::actor::Actor;
use crate::support::app::{PATIENCE, TestApp};

/// An open stream of events.
struct Stream {
    response: Response,
    text: String,
}

/// One event of it.
#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<String>,
    frame: Value,
}

impl Stream {
    async fn open(actor: &Actor, query: &str, last: Option<&str>) -> Self {
        let mut request = actor.request("GET", &format!("/events{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.timeout(Duration::from_mins(2)).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, text: String::new() }
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("in time");
            let chunk = chunk.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let Some(data) = field("data") else { continue };
            let frame: Value = serde_json::from_str(data).expect("JSON");
            let (kind, id) = (field("event").expect("a type"), field("id"));
            assert_eq!(frame["type"], kind);
            assert_eq!(frame["id"].as_str(), id);
            return Some(Event { kind: kind.to_owned(), id: id.map(str::to_owned), frame });
        }
    }

    async fn expect(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.expect("an event");
            if event.kind == kind {
                return event;
            }
            assert!(["presence", "typing"].contains(&event.kind.as_str()), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_tells_what_a_socket_tells_and_goes_on_where_it_was() {
    // No longer than a request may take otherwise.
    let app = TestApp::with(|settings| settings.server.request_seconds = Duration::from_secs(1));
    let app = app.await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    let mut stream = Stream::open(&bob, "", None).await;
    let ready = stream.expect("ready").await;
    assert_eq!((ready.id, &ready.frame["data"]["recovered"]), (None, &Value::Null));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    alice.send(&bob, "one").await;
    let one = stream.expect("message.created").await;
    assert_eq!(one.frame, socket.next().await);
    drop(stream);
    let two = alice.send(&bob, "two").await;
    let mut stream = Stream::open(&bob, "?since=x", one.id.as_deref()).await;
    assert_eq!(stream.expect("ready").await.frame["data"]["recovered"], json!(true));
    assert_eq!(stream.expect("message.created").await.frame["data"], two);
    let mut stream = Stream::open(&bob, "?since=x", None).await;
    assert_eq!(stream.expect("ready").await.frame["data"]["recovered"], json!(false));
    app.get("/events").await.problem(401, "missing_token");
    bob.get("/events?from=1").await.invalid(&["from"]);
}

#[tokio::test]
async fn a_stream_lives_by_its_heartbeat_and_ends_with_its_session() {
    let app = TestApp::with(|settings| {
        settings.realtime.heartbeat_seconds = Duration::from_secs(1);
        settings.server.idle_seconds = Duration::from_secs(2);
    })
    .await;
    let bob = app.user("bob").await;
    let mut stream = Stream::open(&bob, "", None).await;
    stream.expect("ready").await;
    for _ in 0..4 {
        assert_eq!(stream.block().await.as_deref(), Some(":"));
    }
    bob.post("/logout", json!({})).await.ok(204);
    let ended = stream.expect("session.ended").await;
    assert!(ended.id.is_some());
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn streams_count_among_the_connections_of_an_account() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob").await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = Stream::open(&bob, "", None).await;
        stream.expect("ready").await;
        streams.push(stream);
    }
    let refused = bob.get("/events").await;
    assert!(!refused.header("retry-after").is_empty());
    refused.problem(429, "rate_limited");
    streams.pop();
    let place = async {
        loop {
            let answer = bob.request("GET", "/events").send().await.expect("an answer");
            if answer.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, place).await.expect("a place");
}
