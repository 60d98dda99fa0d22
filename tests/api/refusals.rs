//! Answers that come before the request's body: the connection lives, or its end is announced, and
//! the answer arrives.

use std::num::NonZeroU32;
use std::time::Duration;

use natter::config::Quota;

use crate::support::TestApp;
use crate::support::raw::{Raw, RawAnswer};

const H1: &[u8] = b"http/1.1";
const NEXT: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A request up to its length, and how it is answered, whatever body comes.
struct Refused {
    head: String,
    status: u16,
    code: &'static str,
}

fn refused(request: &str, headers: &[&str], status: u16, code: &'static str) -> Refused {
    let headers = headers.iter().fold(String::new(), |all, line| all + line + "\r\n");
    let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\n{headers}");
    Refused { head, status, code }
}

/// Every kind of answer that does not wait for the body.
fn kinds(token: &str) -> Vec<Refused> {
    let (json, text) = ("content-type: application/json", "content-type: text/plain");
    let form = "content-type: multipart/form-data; boundary=x";
    let bearer = format!("authorization: Bearer {token}");
    vec![
        refused("POST /messages", &[json], 401, "missing_token"),
        refused("POST /messages", &[json, "authorization: Bearer no"], 401, "invalid_token"),
        refused("POST /attachments", &[form], 401, "missing_token"),
        refused("POST /nothing", &[json], 404, "not_found"),
        refused("PUT /groups/nonsense", &[json, &bearer], 404, "not_found"),
        refused("PATCH /login", &[json], 405, "method_not_allowed"),
        refused("POST /login", &[text], 415, "unsupported_media_type"),
        refused("POST /login", &[], 415, "unsupported_media_type"),
        refused("POST /attachments", &[text, &bearer], 415, "unsupported_media_type"),
        refused("GET /users?q=%ff", &[&bearer], 400, "invalid_query"),
        refused("GET /users?q=a", &[&bearer], 422, "validation_failed"),
        refused("GET /ws", &[&bearer], 426, "upgrade_required"),
        refused("POST /login", &["host: twice"], 400, "malformed_request"),
        refused("OPTIONS /login", &[], 204, ""),
        refused("GET /profile", &[&bearer], 200, ""),
    ]
}

/// Sends head and body in packets of their own, and reads the answer.
async fn ask(raw: &mut Raw, kind: &Refused, length: &str, body: &[u8]) -> RawAnswer {
    raw.send(format!("{}{length}\r\n\r\n", kind.head).as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    for piece in body.chunks(64 << 10) {
        raw.send(piece).await;
    }
    let answer = raw.answer().await.unwrap_or_else(|| panic!("{}: no answer", kind.head));
    assert_eq!(answer.status, kind.status, "{}", kind.head);
    if !kind.code.is_empty() {
        answer.problem(kind.status, kind.code);
    }
    answer
}

async fn next_is_answered(raw: &mut Raw, after: &str) {
    raw.send(NEXT).await;
    let next = raw.answer().await.unwrap_or_else(|| panic!("{after}: nothing after it"));
    assert_eq!(next.status, 200, "{after}");
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in body.chunks(10_000) {
        sent.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    sent
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_in_use() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut raw = Raw::connect(&app, H1).await;
    for round in 0..30 {
        for kind in kinds(&ada.token) {
            let size = [10, 3000, 64 << 10, 128 << 10][round % 4];
            let body = vec![b'x'; size];
            let answer = ask(&mut raw, &kind, &format!("content-length: {size}"), &body).await;
            assert_eq!(answer.header("connection").replace("upgrade", ""), "", "{}", kind.head);
            next_is_answered(&mut raw, &kind.head).await;
        }
    }
    for kind in kinds(&ada.token) {
        ask(&mut raw, &kind, "transfer-encoding: chunked", &chunked(&vec![b'x'; 100_000])).await;
        next_is_answered(&mut raw, &kind.head).await;
    }
}

#[tokio::test]
async fn a_long_body_gets_its_refusal_and_an_announced_end() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let body = vec![b'x'; 3 << 20];
    for kind in kinds(&ada.token) {
        let length = format!("content-length: {}", body.len());
        for (length, body) in
            [(length.as_str(), body.clone()), ("transfer-encoding: chunked", chunked(&body))]
        {
            let mut raw = Raw::connect(&app, H1).await;
            let answer = ask(&mut raw, &kind, length, &body).await;
            assert!(answer.header("connection").contains("close"), "{}", kind.head);
            raw.ended().await;
        }
    }
}

/// 413 and 429 depend on the body's size and on what came before.
#[tokio::test]
async fn bodies_past_a_limit_and_requests_past_a_quota() {
    let app = TestApp::with(|settings| {
        let limit = NonZeroU32::new(4).expect("not zero");
        settings.limits.auth = Some(Quota { limit, window: Duration::from_mins(1) });
    })
    .await;
    let json = ["content-type: application/json"];
    let too_large = refused("POST /login", &json, 413, "payload_too_large");
    let limited = refused("POST /login", &json, 429, "rate_limited");
    let mut raw = Raw::connect(&app, H1).await;
    for size in [(64 << 10) + 1, 100_000, (64 << 10) + (1 << 20)] {
        let body = vec![b' '; size];
        ask(&mut raw, &too_large, &format!("content-length: {size}"), &body).await;
        next_is_answered(&mut raw, "413").await;
    }
    ask(&mut raw, &too_large, "transfer-encoding: chunked", &chunked(&vec![b' '; 900_000])).await;
    for size in [10, 60_000] {
        ask(&mut raw, &limited, &format!("content-length: {size}"), &vec![b' '; size]).await;
        next_is_answered(&mut raw, "429").await;
    }
    let size = 3 << 20;
    let answer =
        ask(&mut raw, &limited, &format!("content-length: {size}"), &vec![b' '; size]).await;
    assert_eq!(answer.header("connection"), "close");
    raw.ended().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_408_and_an_end() {
    let app =
        TestApp::with(|settings| settings.server.request_seconds = Duration::from_secs(1)).await;
    let kind = refused("POST /login", &["content-type: application/json"], 408, "request_timeout");
    let mut raw = Raw::connect(&app, H1).await;
    let answer = ask(&mut raw, &kind, "content-length: 100", b"{\"email\":").await;
    assert_eq!(answer.header("connection"), "close");
}

#[tokio::test]
async fn who_expects_to_be_asked_for_a_body_is_refused_at_once() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for kind in kinds(&ada.token) {
        let mut raw = Raw::connect(&app, H1).await;
        let length = "content-length: 10\r\nexpect: 100-continue";
        let answer = ask(&mut raw, &kind, length, b"").await;
        assert!(answer.header("connection").contains("close"), "{}", kind.head);
        raw.ended().await;
    }
    // Who is not refused is asked.
    let mut raw = Raw::connect(&app, H1).await;
    let asks = "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        expect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    raw.send(asks.as_bytes()).await;
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(100));
    raw.send(b"{}").await;
    raw.answer().await.expect("an answer").problem(422, "validation_failed");
    next_is_answered(&mut raw, "100").await;
}

#[tokio::test]
async fn the_other_listeners_treat_bodies_alike() {
    let app = TestApp::with(|settings| {
        settings.admin.addr = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    let mut raw = Raw::plain(app.admin.as_deref().expect("an admin listener")).await;
    for (path, status) in [("POST /metrics", 405), ("POST /nothing", 404), ("GET /metrics", 200)] {
        let kind = Refused { head: refused(path, &[], 0, "").head, status, code: "" };
        let body = [b'x'; 1000];
        ask(&mut raw, &kind, "content-length: 1000", &body).await;
    }
    let kind = refused("POST /metrics", &[], 405, "method_not_allowed");
    let answer = ask(&mut raw, &kind, "content-length: 3000000", &vec![b'x'; 3_000_000]).await;
    assert_eq!(answer.header("connection"), "close");
    raw.ended().await;
}
