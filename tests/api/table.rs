//! What holds for every row of the route table: who gets in, what is refused and how, and that
//! each request is charged exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use natter::config::{Quota, Settings};
use natter::domain::ids::{ConversationId, MessageId, UserId};
use natter::filters::endpoint::{Access, Body, Class, Endpoint};
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use crate::support::{Actor, Answer, TestApp};

/// Every name that some JSON row takes as a field.
const FIELDS: [&str; 23] = [
    "all",
    "attachments",
    "client_message_id",
    "current_password",
    "email",
    "friend_user_id",
    "group_id",
    "group_name",
    "group_picture",
    "ids",
    "members",
    "message",
    "message_id",
    "muted_until",
    "new_password",
    "password",
    "profile_picture",
    "recipient_user_id",
    "refresh_token",
    "role",
    "token",
    "user_id",
    "username",
];

/// The media type of a form with the boundary `x`.
const FORM: &str = "multipart/form-data; boundary=x";

/// The methods that a client may try.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A row's path with well-formed parameters that name nothing.
fn filled(row: &Endpoint) -> String {
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

fn json_rows() -> Vec<(Endpoint, u64)> {
    let rows = natter::routes::table().into_iter();
    let rows = rows.filter_map(|row| match row.body {
        Body::Json { limit } | Body::JsonOrMultipart { limit, .. } => Some((row, limit)),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 10, "the table is empty");
    rows
}

/// A request as this row wants it, up to its body.
fn request(app: &TestApp, caller: &Actor, row: &Endpoint) -> RequestBuilder {
    let (verb, path) = (row.verb.as_str(), filled(row));
    match row.access {
        Access::Public => app.request(verb, &path),
        Access::Bearer | Access::Later => caller.request(verb, &path),
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

/// The same bytes without a `Content-Length`.
fn chunked(body: &[u8]) -> reqwest::Body {
    let chunks: Vec<_> = body.chunks(1000).map(Bytes::copy_from_slice).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(
        chunks.into_iter().map(Ok::<_, std::convert::Infallible>),
    ))
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let app = TestApp::spawn().await;
    for row in natter::routes::table() {
        let (verb, path, what) = (row.verb.as_str(), filled(&row), label(&row));
        if row.access == Access::Public {
            let answer = Answer::of(app.request(verb, &path)).await;
            assert_ne!(answer.status, 401, "{what}");
            continue;
        }
        refused(app.request(verb, &path), 401, "missing_token", &what).await;
        let bad = app.request(verb, &path).bearer_auth("a.b.c");
        refused(bad, 401, "invalid_token", &what).await;
        let hidden = app.request(verb, &format!("{path}?access_token=a.b.c&token=x"));
        refused(hidden, 401, "missing_token", &what).await;
        if verb == "GET" {
            let head = Answer::of(app.request("HEAD", &path)).await;
            assert_eq!((head.status, head.body.len()), (401, 0), "{what}");
            assert_eq!(head.header("content-type"), "application/problem+json", "{what}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for row in natter::routes::table().iter().filter(|row| row.verb.as_str() == "GET") {
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
async fn methods_that_a_path_does_not_take_are_405_with_allow() {
    let app = TestApp::spawn().await;
    let mut paths: BTreeMap<String, (Endpoint, BTreeSet<&str>)> = BTreeMap::new();
    for row in natter::routes::table() {
        // Rows on one path may name its parameters differently.
        let shape = with_parameters(&row, |_| "*".to_owned());
        let taken = &mut paths.entry(shape).or_insert_with(|| (row, BTreeSet::new())).1;
        taken.insert(row.verb.as_str());
    }
    for (shape, (row, taken)) in paths {
        let order = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let mut allow: Vec<&str> = order.into_iter().filter(|verb| taken.contains(verb)).collect();
        if taken.contains("GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        let (allow, path) = (allow.join(", "), filled(&row));
        let options = Answer::of(app.request("OPTIONS", &path)).await;
        assert_eq!((options.status, options.header("allow")), (204, allow.as_str()), "{shape}");
        for method in METHODS.into_iter().filter(|method| !taken.contains(method)) {
            let what = format!("{method} {shape}");
            let answer = refused(app.request(method, &path), 405, "method_not_allowed", &what);
            assert_eq!(answer.await.header("allow"), allow, "{what}");
        }
        if !taken.contains("GET") {
            assert_eq!(Answer::of(app.request("HEAD", &path)).await.status, 405, "HEAD {shape}");
        }
    }
}

/// Ways to write a path that are not its own.
fn spellings(path: &str) -> Vec<String> {
    let (_, first) = path.split_at(1);
    let escaped = format!("/%{:02X}{}", first.as_bytes()[0], &first[1..]);
    let mut upper = path.to_owned();
    upper[1..2].make_ascii_uppercase();
    let mut spellings =
        vec![format!("{path}/"), format!("/{path}"), format!("{path}//"), escaped, upper];
    spellings
        .extend(["%00", "%20", "%2F", ";x", ".", "%3Flimit=1"].map(|it| format!("{path}{it}")));
    if let Some((head, tail)) = first.split_once('/') {
        spellings.extend([format!("/{head}//{tail}"), format!("/{head}%2F{tail}")]);
    }
    spellings.retain(|spelling| spelling != path);
    spellings
}

#[tokio::test]
async fn other_paths_and_malformed_ids_are_404() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let id = UserId::random().to_string();
    let malformed = [
        "x".to_owned(),
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("{id}%00"),
        "%7B%22$ne%22:null%7D".to_owned(),
        "00000000000000000000000g".to_owned(),
    ];
    for row in natter::routes::table() {
        let (verb, what) = (row.verb.as_str(), label(&row));
        let mut paths = spellings(&filled(&row));
        if row.path.contains('{') {
            let bad = malformed.iter().filter(|bad| **bad != id);
            paths.extend(bad.map(|bad| with_parameters(&row, |_| bad.clone())));
        }
        // An emoji may be any text: what is none is refused later, by its name.
        if row.path.ends_with("{emoji}") {
            paths.retain(|path| !path.contains("%8D") || path.ends_with('/'));
        }
        for path in paths {
            let what = format!("{what}: {path}");
            let answer = refused(ada.request(verb, &path), 404, "not_found", &what);
            assert!(answer.await.headers.get("ratelimit").is_none(), "{what}");
        }
    }
    refused(ada.request("GET", "/"), 404, "not_found", "/").await;
}

#[tokio::test]
async fn json_rows_refuse_what_is_not_their_json() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let wrong: Map<String, Value> =
        FIELDS.iter().map(|name| ((*name).to_owned(), json!({"$ne": null}))).collect();
    let wrong = serde_json::to_vec(&wrong).expect("JSON");
    for (row, limit) in json_rows() {
        let (what, ask) = (label(&row), || request(&app, &ada, &row));
        let text = ask().header("content-type", "text/plain").body("{}");
        refused(text, 415, "unsupported_media_type", &what).await;
        refused(ask().body("{}"), 415, "unsupported_media_type", &what).await;
        refused(as_json(ask(), padded(limit + 1)), 413, "payload_too_large", &what).await;
        let streamed = as_json(ask(), chunked(&padded(limit + 1)));
        refused(streamed, 413, "payload_too_large", &what).await;
        let fits = Answer::of(as_json(ask(), chunked(&padded(limit)))).await;
        assert_ne!(fits.status, 413, "{what}: {}", fits.text());
        for malformed in ["", "{", "{\"x\":1,\"x\":1}", "{\"x\":NaN}"] {
            refused(as_json(ask(), malformed), 400, "malformed_json", &what).await;
        }
        for other in ["[]", "\"x\"", "null"] {
            let answer = refused(as_json(ask(), other), 422, "validation_failed", &what).await;
            answer.invalid(&[""]);
        }
        let answer = refused(as_json(ask(), wrong.clone()), 422, "validation_failed", &what).await;
        let errors = answer.json()["errors"].as_array().cloned().expect("errors");
        assert!(!errors.is_empty(), "{what}");
        for error in errors {
            assert_eq!(error["code"], "invalid_type", "{what}: {error}");
        }
    }
}

#[tokio::test]
async fn forms_must_be_forms() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for row in natter::routes::table() {
        let (what, ask) = (label(&row), || request(&app, &ada, &row));
        match row.body {
            Body::Multipart => {
                refused(as_json(ask(), "{}"), 415, "unsupported_media_type", &what).await;
            }
            Body::JsonOrMultipart { .. } => {}
            _ => continue,
        }
        let bare = ask().header("content-type", "multipart/form-data").body("x");
        refused(bare, 415, "unsupported_media_type", &what).await;
        let broken = ask().header("content-type", "multipart/form-data; boundary=x").body("--x");
        refused(broken, 400, "malformed_multipart", &what).await;
    }
}

#[tokio::test]
async fn an_answer_arrives_whatever_body_comes_with_the_request() {
    let app = TestApp::spawn().await;
    let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let http1 = builder.http1_only().build().expect("a client");
    for http in [app.http(), http1] {
        for (path, status) in [("/messages", 401), ("/nothing", 404), ("/login", 413)] {
            let ask = || http.post(format!("{}{path}", app.url));
            for length in [100_000, 900_000] {
                let answer = Answer::of(as_json(ask(), padded(length))).await;
                assert_eq!(answer.status, status, "{path} with {length} bytes");
                let answer = Answer::of(as_json(ask(), chunked(&padded(length)))).await;
                assert_eq!(answer.status, status, "{path} with {length} bytes, chunked");
            }
        }
    }
}

/// Settings that grant this much an hour in each class.
fn quotas(limit: u32) -> impl Fn(&mut Settings) {
    let limit = NonZeroU32::new(limit).expect("not zero");
    let quota = Some(Quota { limit, window: Duration::from_hours(1) });
    move |settings| {
        let limits = &mut settings.limits;
        for class in [
            &mut limits.auth,
            &mut limits.read,
            &mut limits.write,
            &mut limits.upload,
            &mut limits.search,
        ] {
            *class = quota;
        }
    }
}

/// What is left of each quota, as the answers tell it.
#[derive(Default)]
struct Meter {
    left: HashMap<(&'static str, &'static str), u32>,
}

impl Meter {
    /// Expects that this request of `subject` has moved its quota by exactly one.
    fn moved(
        &mut self,
        row: &Endpoint,
        sent: &HeaderMap,
        subject: &'static str,
        answer: &Answer,
        quota: u32,
    ) {
        let what = format!("{} as {subject}: {}", label(row), answer.text());
        let is_form = sent.get("content-type").is_some_and(|it| it == FORM);
        let class = match row.body {
            Body::JsonOrMultipart { .. } if is_form => Some(Class::Upload),
            _ => row.class,
        };
        let Some(class) = class else {
            assert_eq!(answer.header("ratelimit"), "", "{what}");
            return;
        };
        let name = class.name();
        let policy = format!("\"{name}\";q={quota};w=3600");
        assert_eq!(answer.header("ratelimit-policy"), policy, "{what}");
        let state = answer.header("ratelimit").strip_prefix(&format!("\"{name}\";r="));
        let (left, reset) = state.and_then(|rest| rest.split_once(";t=")).expect(&what);
        let left: u32 = left.parse().expect("a number");
        assert!((1..=3600).contains(&reset.parse::<u64>().expect("seconds")), "{what}");
        if let Some(before) = self.left.insert((name, subject), left) {
            assert_eq!(left, before - 1, "{what}");
        }
    }
}

/// Requests of one row that end in many ways.
fn attempts(app: &TestApp, caller: &Actor, row: &Endpoint) -> Vec<RequestBuilder> {
    let ask = || request(app, caller, row);
    let mut attempts = vec![ask(), ask().body("{}"), as_json(ask(), "{"), as_json(ask(), "{}")];
    attempts.push(as_json(ask(), padded(200_000)));
    for body in ["", "--x--"] {
        attempts.push(ask().header("content-type", FORM).body(body));
    }
    if row.verb.as_str() == "GET" {
        attempts.push(caller.request("GET", &format!("{}?limit=0", filled(row))));
        attempts.push(caller.request("HEAD", &filled(row)));
    }
    attempts
}

#[tokio::test]
async fn each_request_is_charged_once_whatever_comes_of_it() {
    const QUOTA: u32 = 5000;
    let app = TestApp::with(quotas(QUOTA)).await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let mut meter = Meter::default();
    // Signing out answers once and ends the session, which the others need.
    for row in natter::routes::table().into_iter().filter(|row| row.path != "/logout") {
        let subject = if row.access == Access::Public { "the address" } else { "ada" };
        for instance in [&app, &second] {
            let ada = instance.seen_by(&ada);
            let nobody = |request: RequestBuilder| request.header("authorization", "Bearer x");
            let mut sent: Vec<_> =
                attempts(instance, &ada, &row).into_iter().map(|it| (subject, it)).collect();
            let (verb, path) = (row.verb.as_str(), filled(&row));
            let bare = || instance.request(verb, &path);
            sent.push(("the address", bare()));
            sent.push(("the address", nobody(bare().header("content-type", FORM))));
            for (subject, attempt) in sent {
                let headers = attempt.try_clone().expect("no stream").build().expect("a request");
                let answer = Answer::of(attempt).await;
                meter.moved(&row, headers.headers(), subject, &answer, QUOTA);
            }
            let options = Answer::of(ada.request("OPTIONS", &path)).await;
            assert_eq!(options.header("ratelimit"), "", "{}", label(&row));
        }
    }
}

#[tokio::test]
async fn a_spent_quota_is_429_for_every_row_of_its_class_on_every_instance() {
    let app = TestApp::with(quotas(4)).await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let elsewhere = second.seen_by(&ada);
    for (path, verb) in [("/notifications", "GET"), ("/messages", "POST")] {
        for _ in 0..2 {
            assert_ne!(Answer::of(ada.request(verb, path)).await.status, 429);
            assert_ne!(Answer::of(elsewhere.request(verb, path)).await.status, 429);
        }
    }
    for _ in 0..4 {
        Answer::of(app.request("GET", "/notifications")).await;
        Answer::of(app.request("POST", "/messages")).await;
        app.post("/login", json!({})).await;
    }
    for row in natter::routes::table() {
        let spent =
            row.class.is_some_and(|class| ["read", "write", "auth"].contains(&class.name()));
        for instance in [&app, &second].into_iter().filter(|_| spent) {
            let ask = request(instance, &instance.seen_by(&ada), &row);
            let forged =
                ask.header("x-forwarded-for", "198.51.100.7").header("forwarded", "for=1.2.3.4");
            let answer = refused(as_json(forged, "{"), 429, "rate_limited", &label(&row)).await;
            let wait: u64 = answer.header("retry-after").parse().expect("seconds");
            assert_eq!(wait, 900, "{}", label(&row));
            assert!(answer.header("ratelimit").contains(";r=0;t=3600"), "{}", label(&row));
            let nobody = instance.request(row.verb.as_str(), &filled(&row));
            refused(nobody.bearer_auth("x"), 429, "rate_limited", &label(&row)).await;
        }
    }
}

#[tokio::test]
async fn what_applies_first_is_the_answer() {
    let app = TestApp::with(quotas(9)).await;
    let ada = app.user("ada").await;
    let long = || padded(200_000);
    let post = || ada.request("POST", "/messages");
    let text = |request: RequestBuilder| request.header("content-type", "text/plain").body(long());
    refused(text(app.request("POST", "/messages/")), 404, "not_found", "no such path").await;
    let answer = refused(text(app.request("DELETE", "/messages")), 405, "method_not_allowed", "");
    assert_eq!(answer.await.header("allow"), "POST, OPTIONS");
    refused(text(app.request("POST", "/messages")), 401, "missing_token", "nobody").await;
    let twice = post().header("authorization", format!("Bearer {}", ada.token));
    refused(text(twice), 401, "invalid_token", "two tokens").await;
    refused(text(post()), 415, "unsupported_media_type", "text, too long").await;
    let mut broken = long();
    broken.push(b'{');
    refused(as_json(post(), broken), 413, "payload_too_large", "too long, no JSON").await;
    refused(as_json(post(), r#"{"message":7"#), 400, "malformed_json", "no JSON, wrong type").await;
    let wrong = json!({"message": 7, "recipient_user_id": UserId::random()});
    refused(post().json(&wrong), 422, "validation_failed", "wrong type, nobody there").await;
    let right = json!({"message": "hi", "recipient_user_id": UserId::random()});
    refused(post().json(&right), 404, "not_found", "nobody there").await;
    for _ in 0..4 {
        post().send().await.expect("an answer");
    }
    refused(text(post()), 429, "rate_limited", "spent, text, too long").await;
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
