//! What holds for every row of the route table: who gets in, what is refused and how, and that
//! each request is charged exactly once.

mod bodies;
mod charging;
mod paths;

use natter::internals::domain::{ConversationId, MessageId, UserId};
use natter::internals::filters::{Access, Endpoint};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{Actor, Answer, TestApp};

/// A row's path with well-formed parameters that name nothing.
pub fn filled(row: &Endpoint) -> String {
    with_parameters(row, |name| match name {
        "message_id" => MessageId::new(ConversationId::random(), 1).to_string(),
        "emoji" => "%F0%9F%91%8D".to_owned(),
        _ => UserId::random().to_string(),
    })
}

fn with_parameters(row: &Endpoint, value: impl Fn(&str) -> String) -> String {
    let segments = row.path.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        name.map_or_else(|| segment.to_owned(), &value)
    });
    segments.collect::<Vec<_>>().join("/")
}

fn label(row: &Endpoint) -> String {
    format!("{} {}", row.verb.as_str(), row.path)
}

/// A request as this row wants it, up to its body.
fn request(app: &TestApp, caller: &Actor, row: &Endpoint) -> RequestBuilder {
    let (verb, path) = (row.verb.as_str(), filled(row));
    match row.access {
        Access::Public => app.request(verb, &path),
        Access::Bearer | Access::OptionalBearer => caller.request(verb, &path),
    }
}

/// Sends a request under an id of its own, and expects a problem as all of them are.
async fn refused(request: RequestBuilder, status: u16, code: &str, what: &str) -> Answer {
    let id = format!("t-{}", UserId::random());
    let answer = Answer::of(request.header("x-request-id", &id)).await;
    let seen = (answer.status, answer.header("content-type"));
    assert_eq!(seen, (status, "application/problem+json"), "{what}: {}", answer.text());
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{what}");
    assert_eq!(problem["request_id"], id.as_str(), "{what}");
    assert_eq!(answer.header("x-request-id"), id, "{what}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert!(answer.header("strict-transport-security").starts_with("max-age="), "{what}");
    assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{what}");
    answer
}

fn as_json(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

/// JSON of exactly so many bytes.
fn padded(length: u64) -> Vec<u8> {
    let mut body = br#"{"padding":""#.to_vec();
    body.resize(usize::try_from(length).expect("a length") - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let app = TestApp::spawn().await;
    for row in natter::internals::table() {
        let (verb, path, what) = (row.verb.as_str(), filled(&row), label(&row));
        if row.access == Access::Public {
            let answer = Answer::of(app.request(verb, &path)).await;
            assert_ne!(answer.status, 401, "{what}");
            continue;
        }
        // Who may show the token later is told what else is missing.
        let (status, code) = match row.access {
            Access::OptionalBearer => (426, "upgrade_required"),
            _ => (401, "missing_token"),
        };
        refused(app.request(verb, &path), status, code, &what).await;
        let bad = app.request(verb, &path).bearer_auth("a.b.c");
        refused(bad, 401, "invalid_token", &what).await;
        let hidden = app.request(verb, &format!("{path}?access_token=a.b.c&token=x"));
        let (unheard, why) = match row.access {
            Access::OptionalBearer => (422, "validation_failed"),
            _ => (status, code),
        };
        refused(hidden, unheard, why, &what).await;
        if verb == "GET" {
            let head = Answer::of(app.request("HEAD", &path)).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "{what}");
            assert_eq!(head.header("content-type"), "application/problem+json", "{what}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for row in natter::internals::table().iter().filter(|row| row.verb.as_str() == "GET") {
        let (path, what) = (filled(row), label(row));
        let get = Answer::of(ada.request("GET", &path)).await;
        let head = Answer::of(ada.request("HEAD", &path)).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{what}");
        for name in ["content-type", "cache-control", "etag", "content-length"] {
            let same = head.header(name) == get.header(name) || get.header(name).is_empty();
            assert!(same, "{what}: {name}: {} for {}", head.header(name), get.header(name));
        }
    }
}

#[tokio::test]
async fn browsers_are_answered_for_the_named_origins_only() {
    let ask = |app: &TestApp, origin: &'static str| {
        let preflight = app.request("OPTIONS", "/login").header("origin", origin);
        preflight.header("access-control-request-method", "POST")
    };
    let closed = TestApp::spawn().await;
    let answer = Answer::of(ask(&closed, "https://app.example")).await;
    assert_eq!((answer.status, answer.header("allow")), (204, "POST, OPTIONS"));
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let open = TestApp::with(|settings| {
        settings.server.cors_origins = vec!["https://app.example".parse().expect("an origin")];
    })
    .await;
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").to_owned();
    let answer = Answer::of(ask(&open, "https://app.example")).await;
    assert_eq!((answer.status, allowed(&answer).as_str()), (204, "https://app.example"));
    assert_eq!(answer.header("allow"), "POST, OPTIONS");
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert_eq!(allowed(&Answer::of(ask(&open, "https://evil.example")).await), "");
    let plain = Answer::of(open.request("OPTIONS", "/login")).await;
    assert_eq!((plain.status, plain.header("allow")), (204, "POST, OPTIONS"));
    let get = open.request("GET", "/healthz").header("origin", "https://app.example");
    let answer = Answer::of(get).await;
    assert_eq!((answer.status, allowed(&answer).as_str()), (200, "https://app.example"));
    let evil = open.request("GET", "/healthz").header("origin", "https://evil.example");
    assert_eq!(allowed(&Answer::of(evil).await), "");
}
