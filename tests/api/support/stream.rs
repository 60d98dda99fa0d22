//! The stream of server-sent events of someone's device, read as browsers do (WHATWG HTML, section
//! 9.2). Every frame is checked as those of a socket are.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::actor::{Actor, Answer};
use super::app::PATIENCE;
use super::{contract, frames};

/// An open stream.
pub struct EventStream {
    response: Response,
    buffer: Vec<u8>,
    /// What a browser would send as `Last-Event-ID`; empty before the first.
    pub last: String,
    /// Milliseconds after which a browser would come back.
    pub retry: Option<u64>,
    /// Comments that have come.
    pub beats: usize,
}

/// A client that speaks this protocol only, with connections of its own, and waits for answers for
/// as long as they go on.
pub fn client(is_http1: bool) -> Client {
    let builder = Client::builder().tls_danger_accept_invalid_certs(true);
    let builder = if is_http1 { builder.http1_only() } else { builder };
    builder.build().expect("a client")
}

impl Actor {
    /// A stream over this client, with what the device has seen last (empty: nothing) as a header.
    pub async fn stream(&self, http: &Client, last: &str) -> EventStream {
        let request = self.stream_request(http, "");
        let request = if last.is_empty() { request } else { request.header("last-event-id", last) };
        let opened = EventStream::open(request).await;
        opened.unwrap_or_else(|answer| panic!("{}: {} {}", self.name, answer.status, answer.text()))
    }

    /// The request for a stream, to be changed and then given to [`EventStream::open`].
    pub fn stream_request(&self, http: &Client, query: &str) -> RequestBuilder {
        http.get(format!("{}/events{query}", self.url())).bearer_auth(&self.token)
    }
}

impl EventStream {
    /// Opens a stream and reads nothing from it; or gives the answer that refuses it.
    pub async fn open(request: RequestBuilder) -> Result<Self, Answer> {
        let (client, request) = request.build_split();
        let request = request.expect("a request");
        let url = request.url().clone();
        let answered = timeout(PATIENCE, client.execute(request)).await;
        let response = answered.expect("an answer in time").expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status != 200 {
            answer.body = response.bytes().await.expect("a whole body").to_vec();
            contract::check(&Method::GET, &url, &answer);
            return Err(answer);
        }
        contract::check(&Method::GET, &url, &answer);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-accel-buffering"), "no");
        let (buffer, last) = Default::default();
        Ok(Self { response, buffer, last, retry: None, beats: 0 })
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        self.frame().await.expect("a frame, where the stream ended")
    }

    /// The data of the next frame of this type; others are passed over.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let mut frame = self.next().await;
            if frame["type"] == kind {
                return frame["data"].take();
            }
        }
    }

    /// All frames that still come before the stream ends by itself.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Waits for a comment.
    pub async fn beat(&mut self) {
        let before = self.beats;
        while self.beats == before {
            let event = self.event().await.expect("a comment, where the stream ended");
            assert_eq!(frame_of(&event), None, "a comment was expected");
        }
    }

    async fn frame(&mut self) -> Option<Value> {
        loop {
            let event = self.event().await?;
            if let Some(frame) = frame_of(&event) {
                self.take(&event, &frame);
                return Some(frame);
            }
        }
    }

    fn take(&mut self, event: &[(String, String)], frame: &Value) {
        let found = frames::faults("stream", frame);
        assert!(found.is_empty(), "not as documented: {frame}: {found:#?}");
        let field = |name| event.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        assert_eq!(field("event"), frame["type"].as_str(), "{frame}");
        if let Some(id) = frame["id"].as_str() {
            assert_eq!(field("id"), Some(id), "{frame}");
            assert!(self.last.as_str() < id, "after {} came {frame}", self.last);
        }
        if let Some(id) = field("id") {
            id.clone_into(&mut self.last);
        }
    }

    /// The fields of the next event; `None` at the end of the stream.
    async fn event(&mut self) -> Option<Vec<(String, String)>> {
        let text = loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                break String::from_utf8(text).expect("UTF-8");
            }
            let piece = timeout(PATIENCE, self.response.chunk()).await.expect("something in time");
            let Some(piece) = piece.expect("a piece") else {
                assert!(self.buffer.is_empty(), "half an event");
                return None;
            };
            self.buffer.extend_from_slice(&piece);
        };
        let mut fields = Vec::new();
        for line in text.trim_end().lines() {
            match line.split_once(": ") {
                _ if line.starts_with(':') => self.beats += 1,
                Some(("retry", time)) => self.retry = Some(time.parse().expect("milliseconds")),
                Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
                None => panic!("no field: {line}"),
            }
        }
        Some(fields)
    }
}

fn frame_of(event: &[(String, String)]) -> Option<Value> {
    let (_, data) = event.iter().find(|(name, _)| name == "data")?;
    Some(serde_json::from_str(data).expect("JSON"))
}

/// How long a stream may be quiet here while it is shown that it lasts.
pub const A_WHILE: Duration = Duration::from_millis(2500);
