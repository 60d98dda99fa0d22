//! Markup and script, pushed through everything that comes back: no answer lets a browser run it.

use std::collections::BTreeMap;

use natter::internals::filters::{Access, Endpoint};
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};

use crate::attachments::images::gif;
use crate::support::{Actor, Answer, TestApp};

/// Ends an attribute, a string and a tag, then runs.
const MARKUP: &str = "'\"></title><script>alert(1)</script><svg onload=alert(1)>";

/// The only pages there are: by path, of GET.
const PAGES: [&str; 4] = ["/verify", "/password/reset", "/email/undo", "/docs"];

/// The only routes that answer with bytes of their own type.
const DOWNLOADS: [&str; 3] =
    ["/attachments/{attachment_id}", "/attachments/{attachment_id}/thumbnail", "/profile/export"];

/// Routes that would end the session which the walk needs.
const ENDS_SESSION: [&str; 1] = ["/logout"];

/// Every name that some route takes in a body or a query; one that is missing here is not tried.
const NAMES: [&str; 36] = [
    "after",
    "all",
    "around",
    "attachments",
    "before",
    "client_message_id",
    "conversation_id",
    "current_password",
    "cursor",
    "email",
    "friend_user_id",
    "group_id",
    "group_name",
    "group_picture",
    "ids",
    "limit",
    "members",
    "message",
    "message_id",
    "muted_until",
    "new_password",
    "password",
    "pinned",
    "profile_picture",
    "q",
    "recipient_user_id",
    "refresh_token",
    "reply_to",
    "role",
    "since",
    "status",
    "token",
    "unread",
    "user_id",
    "username",
    "<script>alert(1)</script>",
];

/// Headers that are looked at, or that others look at.
const HEADERS: [&str; 8] = [
    "if-none-match",
    "if-range",
    "origin",
    "range",
    "referer",
    "user-agent",
    "x-forwarded-for",
    "x-http-method-override",
];

/// Files that some program would run, by what they are called.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let html = "<!DOCTYPE html><html><body onload=alert(1)><script>alert(1)</script></body></html>";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"><script>alert(1)</script></svg>";
    let xhtml = "<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\"><script>alert(1)</script></html>";
    let picture = [gif(3, 2), format!("/*{MARKUP}*/=1;alert(1)").into_bytes()].concat();
    vec![
        (MARKUP, html.into()),
        ("a.html", html.into()),
        ("a.svg", svg.into()),
        ("b.svg", format!("<?xml version=\"1.0\"?>{svg}").into()),
        ("a.xhtml", xhtml.into()),
        ("a.png", html.into()),
        ("a.gif", picture),
        ("b.gif", b"GIF89a/*\x01\x01\0\0\0*/=1;alert(1)//<script>alert(1)</script>".to_vec()),
        ("a.jpg", b"\xff\xd8\xff\xe0<html><script>alert(1)</script>".to_vec()),
        ("a.pdf", b"%PDF-1.7\n<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>".to_vec()),
        ("a.js", b"alert(1)".to_vec()),
        ("a.html%0D%0AContent-Type: text/html", html.into()),
        ("a.txt", MARKUP.into()),
    ]
}

fn label(row: &Endpoint) -> String {
    format!("{} {}", row.verb.as_str(), row.path)
}

/// Expects an answer that a browser shows as data, or does not show; of a page, that nothing in it
/// is the caller's.
fn inert(row: &Endpoint, answer: &Answer, what: &str) {
    let what = format!("{}, {what}: {}", label(row), answer.status);
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    for (name, value) in &answer.headers {
        let value = value.to_str().expect("visible ASCII");
        let is_name = name == "content-disposition";
        assert!(!value.contains('<') || is_name, "{what}: {name}: {value}");
    }
    let (content_type, policy) =
        (answer.header("content-type"), answer.header("content-security-policy"));
    let is_page = PAGES.contains(&row.path) && row.verb.as_str() == "GET" && answer.status == 200;
    if is_page {
        assert_eq!(content_type, "text/html; charset=utf-8", "{what}");
        assert!(policy.starts_with("default-src 'none'; "), "{what}: {policy}");
        assert!(policy.contains("'nonce-") && !policy.contains("unsafe"), "{what}: {policy}");
        assert!(!answer.text().contains("alert(1)"), "{what}: {}", answer.text());
    } else if DOWNLOADS.contains(&row.path)
        && matches!(answer.status, 200 | 206 | 416)
        && !content_type.contains("json")
    {
        let image = ["image/png", "image/jpeg", "image/gif", "image/webp"].contains(&content_type);
        let shown = if image { "inline; " } else { "attachment; " };
        let disposition = answer.header("content-disposition");
        assert!(disposition.starts_with(shown), "{what}: {content_type}, {disposition}");
        assert_eq!(policy, "default-src 'none'; sandbox", "{what}");
    } else if row.path == "/events" && answer.status == 200 {
        // No browser shows it: it is for EventSource, whose data a script reads.
        assert_eq!(content_type, "text/event-stream", "{what}");
    } else if answer.body.is_empty() {
        assert!(matches!(answer.status, 202 | 204), "{what}");
    } else {
        let json = ["application/json", "application/problem+json", "application/jwk-set+json"];
        assert!(json.contains(&content_type), "{what}: {content_type}");
        answer.json();
    }
}

/// A row's path; what no id is given for is one that names nothing.
fn filled(row: &Endpoint, ids: &BTreeMap<&str, String>) -> String {
    let segments = row.path.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let nothing = || "0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39".to_owned();
        name.map_or(segment.to_owned(), |name| ids.get(name).cloned().unwrap_or_else(nothing))
    });
    segments.collect::<Vec<_>>().join("/")
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Bodies of markup, under the right media type and others.
fn bodies(ask: impl Fn() -> RequestBuilder) -> [(&'static str, RequestBuilder); 5] {
    let object: Map<String, Value> =
        NAMES.iter().map(|name| ((*name).to_owned(), MARKUP.into())).collect();
    let lists = json!({"members": [MARKUP], "attachments": [MARKUP], "ids": [MARKUP]});
    let form = NAMES.iter().fold(Form::new(), |form, name| form.text(*name, MARKUP));
    let form = form.part("file", Part::bytes(MARKUP.as_bytes()).file_name(MARKUP));
    let typed = |content_type: &str| ask().header("content-type", content_type).body(MARKUP);
    [
        ("no JSON", typed("application/json")),
        ("a media type", typed(&format!("text/html; {MARKUP}"))),
        ("JSON", ask().json(&object)),
        ("JSON of lists", ask().json(&lists)),
        ("a form", ask().multipart(form)),
    ]
}

/// Requests of a row with markup in everything that it reads, and in what it does not.
fn attempts(app: &TestApp, caller: &Actor, row: &Endpoint) -> Vec<(&'static str, RequestBuilder)> {
    let verb = row.verb.as_str();
    let ask = |path: &str| match row.access {
        Access::Public => app.request(verb, path),
        Access::Bearer | Access::OptionalBearer => caller.request(verb, path),
    };
    let path = filled(row, &BTreeMap::new());
    let mut attempts = Vec::from(bodies(|| ask(&path)));
    attempts.push(("a path", ask(&row.path.replace('{', &encoded(MARKUP)).replace('}', ""))));
    let token = app.request(verb, &path).header("authorization", format!("Bearer {MARKUP}"));
    attempts.push(("a token", token));
    let headers = HEADERS.iter().fold(ask(&path), |ask, name| ask.header(*name, MARKUP));
    attempts.push(("headers", headers.header("accept", "text/html")));
    attempts.extend(NAMES.iter().map(|name| {
        let query = format!("{path}?{}={}", encoded(name), encoded(MARKUP));
        ("a query", ask(&query))
    }));
    attempts
}

#[tokio::test]
async fn no_answer_is_markup_but_the_pages() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for row in natter::internals::table().iter().filter(|row| !ENDS_SESSION.contains(&row.path)) {
        for (what, request) in attempts(&app, &alice, row) {
            inert(row, &Answer::of(request).await, what);
        }
    }
}

#[tokio::test]
async fn a_request_id_comes_back_only_if_it_is_harmless() {
    let app = TestApp::spawn().await;
    let long = "x".repeat(65);
    for row in natter::internals::table() {
        let ask = |id: &[u8]| {
            let id = reqwest::header::HeaderValue::from_bytes(id).expect("a header");
            app.request(row.verb.as_str(), &filled(&row, &BTreeMap::new()))
                .header("x-request-id", id)
        };
        for bad in [MARKUP.as_bytes(), b"", b"a b", b"a\tb", b"a;b", b"\xc3\xa9", long.as_bytes()] {
            let answer = Answer::of(ask(bad)).await;
            let id = answer.header("x-request-id");
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert!((1..=64).contains(&id.len()) && id.bytes().all(harmless), "{id}");
            assert_ne!(id.as_bytes(), bad, "{}", label(&row));
        }
        assert_eq!(Answer::of(ask(b"a-1_b.C")).await.header("x-request-id"), "a-1_b.C");
    }
}

/// The nonce of a page's policy.
fn nonce(page: &Answer) -> String {
    let policy = page.header("content-security-policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
    nonce.expect("a nonce").to_owned()
}

#[tokio::test]
async fn pages_have_a_new_nonce_each_time_and_nothing_of_their_query() {
    let app = TestApp::spawn().await;
    let table = natter::internals::table();
    let pages = table.iter().filter(|row| PAGES.contains(&row.path) && row.verb.as_str() == "GET");
    for row in pages {
        let path = format!("{}?token={}", row.path, encoded(MARKUP));
        let (one, other) = (app.get(&path).await, app.get(&path).await);
        inert(row, &one, "a page");
        let [first, second] = [&one, &other].map(nonce);
        assert_ne!(first, second, "{}", row.path);
        assert_eq!(one.text().replace(&first, ""), other.text().replace(&second, ""));
        let page = one.text();
        let scripts = page.matches("<script").count();
        let allowed = page.matches(&format!("<script nonce=\"{first}\"")).count();
        assert_eq!(scripts, allowed, "{}", row.path);
    }
}

/// Leaves markup wherever it is taken, and says by which ids it is found.
async fn leave_markup(alice: &Actor, bob: &Actor) -> (BTreeMap<&'static str, String>, Vec<Value>) {
    let mut uploaded = Vec::new();
    for (name, bytes) in files() {
        let part = Part::bytes(bytes).file_name(name).mime_str("text/html").expect("a media type");
        let request =
            alice.request("POST", "/attachments").multipart(Form::new().part("file", part));
        uploaded.push(Answer::of(request).await.ok(201));
    }
    bob.post("/friends/add", json!({"friend_user_id": alice.id})).await.ok(201);
    let group = alice.group(MARKUP, std::slice::from_ref(bob)).await;
    alice.put("/profile", json!({"profile_picture": uploaded[6]["id"]})).await.ok(200);
    let picture = json!({"group_picture": uploaded[6]["id"]});
    alice.put(&format!("/groups/{group}"), picture).await.ok(200);
    let ids: Vec<&Value> = uploaded.iter().map(|file| &file["id"]).collect();
    let mut last = Value::Null;
    for target in [json!({"recipient_user_id": bob.id}), json!({"group_id": group})] {
        for files in ids.chunks(10) {
            let mut body = target.clone();
            body["message"] = MARKUP.into();
            body["attachments"] = json!(files);
            body["client_message_id"] = format!("{}{}", &MARKUP[..40], files.len()).into();
            if target.get("group_id").is_some() {
                body["client_message_id"] = format!("g{}{}", &MARKUP[..40], files.len()).into();
            }
            last = alice.post("/messages", body).await.ok(201);
            assert_eq!(last["message"], MARKUP);
        }
    }
    let id = |value: &Value| value.as_str().expect("an id").to_owned();
    let ids = BTreeMap::from([
        ("user_id", alice.id.clone()),
        ("group_id", group.clone()),
        ("conversation_id", group),
        ("message_id", id(&last["id"])),
    ]);
    (ids, uploaded)
}

#[tokio::test]
async fn what_was_left_comes_back_as_data() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let words = json!({"email": bob.email, "password": bob.password});
    let login = app.request("POST", "/login").header("user-agent", MARKUP).json(&words);
    let login = Answer::of(login).await.ok(200);
    let bob = Actor::new(&app, &bob.email, &bob.password, &login);
    let (mut ids, uploaded) = leave_markup(&alice, &bob).await;
    let table = natter::internals::table();
    for row in table.iter().filter(|row| row.verb.as_str() == "GET") {
        for file in uploaded.iter().take(if row.path.contains("attachment_id") { 99 } else { 1 }) {
            ids.insert("attachment_id", file["id"].as_str().expect("an id").to_owned());
            for reader in [&alice, &bob] {
                let path = filled(row, &ids);
                let request = reader.request("GET", &path).header("accept", "text/html,*/*");
                let what = format!("{} to {}", file["filename"], reader.name);
                inert(row, &Answer::of(request).await, &what);
            }
        }
    }
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"][0]["message"], MARKUP);
    assert_eq!(bob.get("/groups").await.ok(200)["items"][0]["group_name"], MARKUP);
    let sessions = bob.get("/sessions").await.ok(200)["items"].clone();
    let agents = sessions.as_array().expect("sessions").iter().map(|it| it["user_agent"].clone());
    assert!(agents.into_iter().any(|agent| agent == MARKUP));
}
