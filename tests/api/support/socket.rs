//! The WebSocket of someone's device. Every frame that a test reads is checked: its shape, and
//! that each event comes once and in order.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode, Upgraded};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::actor::{Actor, Answer};
use super::app::{PATIENCE, TestApp};
use super::{contract, frames};

/// Frames that are no events: no log keeps them, and they have no id.
const PASSING: [&str; 4] = ["ready", "pong", "typing", "presence"];

/// An open connection.
pub struct Socket {
    stream: WebSocketStream<Upgraded>,
    /// Whose it is, as the messages of failing expectations name it.
    name: String,
    /// The data of its `ready`; null before that.
    pub ready: Value,
    /// What the handshake was answered with.
    pub headers: HeaderMap,
    last: Option<String>,
}

impl Actor {
    /// A device of theirs that has just come, with its `ready` read. It gets nothing of what is
    /// past: one that says `since`, and cannot be served, is told nothing that it then reads, while
    /// to another the relay may yet bring what was acknowledged a moment ago.
    pub async fn socket(&self) -> Socket {
        let socket = self.connected("?since=nothing").await;
        assert_eq!(socket.ready["recovered"], false, "{}", socket.ready);
        socket
    }

    /// A device that comes back and has seen the events up to this one; its `ready` is read, what
    /// it says of the recovery is left to the test.
    pub async fn socket_since(&self, id: &str) -> Socket {
        let socket = self.connected(&format!("?since={id}")).await;
        assert!(socket.ready["recovered"].is_boolean(), "{}", socket.ready);
        socket
    }

    /// What natter answers instead of a socket, with this query (`""`, `?since=…`).
    pub async fn socket_refused(&self, query: &str) -> Answer {
        refused(self.socket_request(query)).await
    }

    /// The request for a socket, to be changed and then given to [`open`] or [`refused`].
    pub fn socket_request(&self, query: &str) -> RequestBuilder {
        request(self.url(), query).bearer_auth(&self.token)
    }

    /// A device that has just come, or comes back and has seen the events up to this one, with its
    /// `ready` read; `None` where the instance is not there, or leaves.
    pub async fn try_socket(&self, since: Option<&str>) -> Option<Socket> {
        let query = since.map_or(String::new(), |since| format!("?since={since}"));
        let mut socket = Box::pin(attempt(self.socket_request(&query))).await?.ok()?;
        socket.name.clone_from(&self.name);
        socket.last = last_seen(since);
        let ready = socket.frame().await.ok()?;
        assert_eq!(ready["type"], "ready", "{}: {ready}", self.name);
        assert_eq!(ready["data"]["recovered"].is_boolean(), since.is_some(), "{ready}");
        Some(socket)
    }

    async fn connected(&self, query: &str) -> Socket {
        let opened = open(self.socket_request(query)).await;
        let mut socket = opened.unwrap_or_else(|it| panic!("{} {}", it.status, it.text()));
        socket.name.clone_from(&self.name);
        socket.last = last_seen(query.strip_prefix("?since="));
        let data = socket.expect("ready").await;
        assert_eq!(data["user_id"], self.id, "{data}");
        socket
    }
}

impl TestApp {
    /// A connection by nobody, on which nothing has been said.
    pub async fn socket(&self) -> Socket {
        let opened = open(request(&self.url, "")).await;
        opened.unwrap_or_else(|answer| panic!("{} {}", answer.status, answer.text()))
    }
}

/// The event after which a socket with this `since` goes on.
fn last_seen(since: Option<&str>) -> Option<String> {
    since.filter(|it| *it != "nothing").map(str::to_owned)
}

/// The request for a socket by nobody.
pub fn request(url: &str, query: &str) -> RequestBuilder {
    // HTTP/1.1, on a connection of its own.
    let http = reqwest::Client::builder()
        .http1_only()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .expect("a client");
    upgrade(&http, url, query)
}

/// The same over a client of the test's own, which speaks HTTP/1.1.
pub fn upgrade(http: &reqwest::Client, url: &str, query: &str) -> RequestBuilder {
    http.request(Method::GET, format!("{url}/ws{query}"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
}

/// What natter answers instead of a socket.
pub async fn refused(request: RequestBuilder) -> Answer {
    match open(request).await {
        Ok(_) => panic!("a socket, where a refusal was expected"),
        Err(answer) => answer,
    }
}

/// Opens a socket and reads nothing from it; or gives the answer that refuses it, which must be as
/// documented.
pub async fn open(request: RequestBuilder) -> Result<Socket, Answer> {
    // Boxed, to keep the futures of long tests small.
    let opened = timeout(PATIENCE, Box::pin(attempt(request))).await;
    opened.expect("an answer in time").expect("an answer")
}

/// As [`open`]; `None` where nobody answers.
async fn attempt(request: RequestBuilder) -> Option<Result<Socket, Answer>> {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (url, key) = (request.url().clone(), request.headers().get("sec-websocket-key").cloned());
    let response = client.execute(request).await.ok()?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut answer = Answer { status: status.as_u16(), headers, body: Vec::new() };
    if status != StatusCode::SWITCHING_PROTOCOLS {
        answer.body = response.bytes().await.ok()?.to_vec();
        contract::check(&Method::GET, &url, &answer);
        return Some(Err(answer));
    }
    contract::check(&Method::GET, &url, &answer);
    let accept = key.map(|key| derive_accept_key(key.as_bytes()));
    assert_eq!(answer.header("sec-websocket-accept"), accept.expect("a key"));
    let stream = response.upgrade().await.ok()?;
    let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let (name, headers) = ("nobody".to_owned(), answer.headers);
    Some(Ok(Socket { stream, name, ready: Value::Null, headers, last: None }))
}

impl Socket {
    /// The next frame, whatever it is.
    pub async fn next(&mut self) -> Value {
        let name = self.name.clone();
        let read = timeout(PATIENCE, self.frame()).await;
        let read = read.unwrap_or_else(|_| panic!("{name}: no frame in time"));
        read.unwrap_or_else(|code| panic!("{name}: a frame was expected, closed with {code:?}"))
    }

    /// The next frame, or the code with which natter closes instead.
    pub async fn next_or_end(&mut self) -> Result<Value, Option<u16>> {
        let name = self.name.clone();
        let read = timeout(PATIENCE, self.frame()).await;
        read.unwrap_or_else(|_| panic!("{name}: nothing in time"))
    }

    /// The data of the next frame, which must be of this type; passing ones of others are skipped.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let mut frame = self.next().await;
            if frame["type"] == kind {
                return frame["data"].take();
            }
            let passes = PASSING[1..].iter().any(|passing| frame["type"] == **passing);
            assert!(passes, "{}: expected {kind}, came {frame}", self.name);
        }
    }

    /// All frames up to and with the first that is one.
    pub async fn frames_until(&mut self, mut is_one: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            let found = is_one(&frame);
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// Expects that for so long nothing comes but heartbeats.
    pub async fn quiet(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(read) = timeout_at(end, self.frame()).await {
            let name = &self.name;
            let frame = read.unwrap_or_else(|code| panic!("{name}: closed with {code:?}"));
            assert_eq!(frame["type"], "pong", "{name}: expected nothing, came {frame}");
        }
    }

    /// Waits until natter closes it, whatever comes before, and gives the code.
    pub async fn closed(&mut self) -> u16 {
        let name = self.name.clone();
        let closing = async {
            loop {
                if let Err(code) = self.frame().await {
                    return code;
                }
            }
        };
        let code = timeout(PATIENCE, closing).await;
        let code = code.unwrap_or_else(|_| panic!("{name}: not closed in time"));
        let code = code.unwrap_or_else(|| panic!("{name}: ended without a close frame"));
        frames::check_code(&name, code);
        code
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        let sending = self.stream.send(Message::text(frame.to_string()));
        let sent = timeout(PATIENCE, sending).await.expect("a connection that is read");
        sent.unwrap_or_else(|error| panic!("{}: {frame} is not sent: {error}", self.name));
    }

    /// Sends whatever is no frame of the contract. Natter may close the connection before it has
    /// read it all: [`Socket::closed`] tells.
    pub async fn send_raw(&mut self, message: impl Into<Message>) {
        let _ = timeout(PATIENCE, self.stream.send(message.into())).await;
    }

    /// All frames that come within a time.
    pub async fn heard_for(&mut self, time: Duration) -> Vec<Value> {
        let end = Instant::now() + time;
        let mut frames = Vec::new();
        while let Ok(read) = timeout_at(end, self.frame()).await {
            let name = &self.name;
            frames.push(read.unwrap_or_else(|code| panic!("{name}: closed with {code:?}")));
        }
        frames
    }

    /// What the next answer to a ping of the protocol itself says.
    pub async fn protocol_pong(&mut self) -> Vec<u8> {
        let answer = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Pong(said))) => return said.to_vec(),
                    Some(Ok(_)) => {}
                    other => panic!("a pong was expected, came {other:?}"),
                }
            }
        };
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Waits until natter answers that it closes, too, and the connection ends.
    pub async fn answered_close(&mut self) {
        let rest = async {
            let mut answered = false;
            while let Some(Ok(message)) = self.stream.next().await {
                answered |= message.is_close();
            }
            answered
        };
        assert!(timeout(PATIENCE, rest).await.expect("an end in time"), "{}", self.name);
    }

    /// Shows a token, and expects to be let in.
    pub async fn show(&mut self, token: &str) -> Value {
        self.send(json!({"type": "auth", "token": token})).await;
        self.expect("ready").await
    }

    /// Waits until natter has read everything that was sent before.
    pub async fn ping(&mut self) {
        self.send(json!({"type": "ping"})).await;
        let frames = self.frames_until(|frame| frame["type"] == "pong").await;
        assert_eq!(frames.len(), 1, "{}: expected a pong, came {frames:?}", self.name);
    }

    /// The last event that it has seen: what a client that comes back says. Panics when there was
    /// none ever.
    pub fn last_id(&self) -> String {
        let last = self.last.clone();
        last.unwrap_or_else(|| panic!("{}: no event yet: {}", self.name, self.ready))
    }

    /// The next frame, or the code of the end; `None` where it ended without one.
    async fn frame(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(self.checked(&text)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    // The answer to it goes out with the reading.
                    let _ = timeout(Duration::from_secs(1), self.stream.next()).await;
                    return Err(close.map(|close| close.code.into()));
                }
                Some(Ok(other)) => panic!("{}: came {other:?}", self.name),
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Expects a frame as the contract has it, after all that came before it.
    fn checked(&mut self, text: &str) -> Value {
        let name = &self.name;
        let frame: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{name}: not JSON: {error}: {text}"));
        let keys: Vec<&str> = frame.as_object().into_iter().flatten().map(|it| &**it.0).collect();
        assert_eq!(keys, ["at", "data", "id", "type"], "{name}: {frame}");
        assert!(frame["data"].is_object() || frame["type"] == "pong", "{name}: {frame}");
        assert!(is_moment(&frame["at"]), "{name}: {frame}");
        frames::check(name, &frame);
        if PASSING.iter().any(|passing| frame["type"] == **passing) {
            assert_eq!(frame["id"], Value::Null, "{name}: {frame}");
        } else {
            let id = frame["id"].as_str().unwrap_or_else(|| panic!("{name}: no id: {frame}"));
            assert!(self.ready.is_object(), "{name}: before ready: {frame}");
            let last = self.last.as_deref().unwrap_or_default();
            assert!(last < id && id.len() <= 128, "{name}: after {last} came {frame}");
            self.last = Some(id.to_owned());
        }
        if frame["type"] == "ready" {
            self.begin(&frame["data"]);
        }
        frame
    }

    fn begin(&mut self, data: &Value) {
        assert_eq!(self.ready, Value::Null, "{}: ready once more: {data}", self.name);
        self.ready = data.clone();
        // Whoever recovers is about to see what came after the last that they had seen.
        if data["recovered"] != true {
            self.last = data["last_event_id"].as_str().map(str::to_owned);
        }
    }
}

/// RFC 3339, in UTC, with milliseconds.
fn is_moment(at: &Value) -> bool {
    let Some(at) = at.as_str() else { return false };
    let shaped = at.len() == 24 && at.ends_with('Z') && at.as_bytes()[19] == b'.';
    shaped && OffsetDateTime::parse(at, &Rfc3339).is_ok()
}
