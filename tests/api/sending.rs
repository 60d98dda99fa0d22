//! POST /messages as a form: the same fields as text, and files.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use natter::config::Quota;
use reqwest::Body;
use serde_json::{Value, json};

use crate::attachments::{LIMIT, fetch, noise, nothing_stays, only_this_stays, stored, upload};
use crate::support::{Actor, Answer, TestApp};

const FORM: &str = "multipart/form-data; boundary=x";

/// The parts of a form, one after the other.
#[derive(Clone, Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn part(mut self, head: &str, content: &[u8]) -> Self {
        let head = format!("--x\r\ncontent-disposition: form-data; {head}\r\n\r\n");
        self.0.extend([head.as_bytes(), content, b"\r\n"].concat());
        self
    }

    fn field(self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value.as_bytes())
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.part(&format!("name=\"file\"; filename=\"{name}\""), bytes)
    }

    fn bytes(self) -> Vec<u8> {
        [self.0, b"--x--\r\n".to_vec()].concat()
    }

    async fn send(self, from: &Actor) -> Answer {
        post(from, self.bytes()).await
    }
}

async fn post(from: &Actor, body: impl Into<Body>) -> Answer {
    Answer::of(from.request("POST", "/messages").header("content-type", FORM).body(body)).await
}

fn to(actor: &Actor) -> Parts {
    Parts::default().field("recipient_user_id", &actor.id)
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

fn names(message: &Value) -> Vec<&str> {
    let files = message["attachments"].as_array().expect("files").iter();
    files.map(|file| file["filename"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_form_sends_text_and_files_its_parts_in_any_order() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let named = upload(&alice, "named.txt", "named").await;
    let more = upload(&alice, "more.txt", "more").await;
    let question = bob.send(&alice, "?").await;
    let text = "h\u{e9}llo\r\n--y <b>";
    let form = Parts::default()
        .file("one.txt", b"1")
        .field("message", text)
        .field("attachments", id(&named))
        .field("unknown", "ignored")
        .file("two.gif", &crate::attachments::images::gif(4, 3))
        .field("attachments", &json!([id(&more)]).to_string())
        .field("reply_to", id(&question))
        .field("client_message_id", "k-1")
        .field("recipient_user_id", &bob.id);
    let sent = form.send(&alice).await;
    assert_eq!(sent.header("idempotent-replayed"), "");
    let sent = sent.ok(201);
    assert_eq!(names(&sent), ["named.txt", "more.txt", "one.txt", "two.gif"]);
    assert_eq!((&sent["message"], &sent["reply_to"]), (&json!(text), &question["id"]));
    assert_eq!((&sent["client_message_id"], &sent["seq"]), (&json!("k-1"), &json!(2)));
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"][0], sent);
    assert_eq!(fetch(&bob, &sent["attachments"][2], "url").await.text(), "1");
    assert_eq!(fetch(&bob, &sent["attachments"][3], "thumbnail_url").await.status, 200);

    // To a group, without text; and without files.
    let group = alice.group("all", std::slice::from_ref(&bob)).await;
    let silent = Parts::default().file("a", b"a").field("group_id", &group).field("message", "");
    assert_eq!(silent.send(&alice).await.ok(201)["message"], "");
    let bare = Parts::default().file("a", b"a").field("group_id", &group);
    assert_eq!(bare.send(&alice).await.ok(201)["message"], "");
    let plain = to(&bob).field("message", "only words").send(&alice).await.ok(201);
    assert_eq!(plain["attachments"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_told_by_field_and_nothing_stays() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let hi = || to(&bob).field("message", "hi");
    let many = (0..11).fold(hi(), |form, _| form.file("a", b"a"));
    let cases = [
        (Parts::default(), vec!["message", "recipient_user_id"]),
        (Parts::default().file("a", b"a"), vec!["recipient_user_id"]),
        (hi().field("group_id", &bob.id), vec!["group_id"]),
        (
            Parts::default().field("message", "hi").field("group_id", "x"),
            vec!["group_id", "recipient_user_id"],
        ),
        (to(&bob).field("message", ""), vec!["message"]),
        (to(&bob).field("message", " \u{200B}").file("a", b"a"), vec!["message"]),
        (hi().field("message_", "x").field("reply_to", "x"), vec!["reply_to"]),
        (hi().field("client_message_id", ""), vec!["client_message_id"]),
        (hi().field("attachments", "x"), vec!["attachments[0]"]),
        (hi().field("attachments", "[7, \"x\"]"), vec!["attachments[0]", "attachments[1]"]),
        (hi().field("attachments", "[").file("a", b""), vec!["attachments", "file"]),
        (hi().field("attachments", &json!(vec![&bob.id; 11]).to_string()), vec!["attachments"]),
        (hi().field("attachments", &bob.id).file("a", b"a"), vec!["attachments[0]"]),
        (hi().file("a", b"a").file("b", b""), vec!["file"]),
        (many.clone(), vec!["file"]),
        (many.file("b", b"").field("reply_to", "x"), vec!["file", "reply_to"]),
    ];
    for (form, fields) in cases {
        form.send(&alice).await.invalid(&fields);
    }
    let history = alice.get(&format!("/messages/{}", bob.id)).await.ok(200);
    assert_eq!(history["items"], json!([]));
    nothing_stays(&app).await;
}

#[tokio::test]
async fn an_image_that_is_too_large_stops_the_message() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut wide = crate::attachments::images::gif(4, 4);
    wide[6..10].fill(0xff);
    let form = to(&bob).file("a", b"a").file("wide.gif", &wide).file("b", b"b");
    form.send(&alice).await.problem(422, "image_too_large");
    nothing_stays(&app).await;
}

#[tokio::test]
async fn what_is_no_form_is_malformed_and_nothing_stays() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let hi = || to(&bob).file("a", b"abc").field("message", "hi");
    for broken in [
        hi().field("message", "again").bytes(),
        hi().part("name=\"reply_to\"", b"\xff").bytes(),
        hi().0,
        [hi().0, b"--x".to_vec()].concat(),
        Vec::new(),
    ] {
        post(&alice, broken).await.problem(400, "malformed_multipart");
    }
    for other in ["multipart/form-data", "multipart/mixed; boundary=x", "text/plain"] {
        let request = alice.request("POST", "/messages").header("content-type", other);
        let answer = Answer::of(request.body(hi().bytes())).await;
        answer.problem(415, "unsupported_media_type");
    }
    nothing_stays(&app).await;
    // Not refused, so not sent either.
    let path = format!("/messages/{}", bob.id);
    assert_eq!(alice.get(&path).await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn all_files_together_may_have_five_mebibytes() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let bytes = noise(LIMIT + 1);
    let (half, rest) = bytes.split_at(LIMIT / 2);
    let full = to(&bob).file("a", half).file("b", &rest[1..]);
    let sent = full.send(&alice).await.ok(201);
    assert!(fetch(&bob, &sent["attachments"][1], "url").await.body == rest[1..], "other bytes");
    let before = stored(&app).await;
    let over = to(&bob).file("a", half).file("b", rest).field("message", "hi").bytes();
    let chunked: Vec<_> =
        over.chunks(10_000).map(|it| Ok::<_, std::io::Error>(it.to_vec())).collect();
    post(&alice, over).await.problem(413, "payload_too_large");
    post(&alice, Body::wrap_stream(stream::iter(chunked))).await.problem(413, "payload_too_large");
    // Parts that are not stored count as well.
    let many = (0..12).fold(to(&bob), |form, _| form.file("a", &bytes[..LIMIT / 11]));
    many.send(&alice).await.problem(413, "payload_too_large");
    let long = to(&bob).field("message", &"x".repeat(128 * 1024)).file("a", b"a");
    long.send(&alice).await.problem(413, "payload_too_large");
    let escaped = to(&bob).field("message", &"\u{1F600}".repeat(8000));
    escaped.send(&alice).await.ok(201);
    only_this_stays(&app, before).await;

    let named = upload(&alice, "a", half).await;
    let before = stored(&app).await;
    let both = to(&bob).field("attachments", id(&named)).file("b", rest);
    both.send(&alice).await.invalid(&["attachments"]);
    only_this_stays(&app, before).await;
    let both = to(&bob).field("attachments", id(&named)).file("b", &rest[1..]);
    both.send(&alice).await.ok(201);
}

#[tokio::test]
async fn ten_files_are_taken() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let form = (0..10).fold(to(&bob), |form, n| form.file(&n.to_string(), b"same"));
    let sent = form.send(&alice).await.ok(201);
    assert_eq!(names(&sent), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn permissions_come_first_and_of_a_refused_form_nothing_stays() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let nobody = "0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39";
    for field in ["recipient_user_id", "group_id"] {
        let form = Parts::default().file("a", b"a").field(field, nobody);
        form.send(&alice).await.problem(404, "not_found");
    }
    to(&bob).file("a", b"a").field("reply_to", "AAAA").send(&alice).await.invalid(&["reply_to"]);
    nothing_stays(&app).await;
    let group = bob.group("all", std::slice::from_ref(&alice)).await;
    let once =
        Parts::default().file("a", b"a").field("group_id", &group).field("client_message_id", "k");
    once.clone().send(&alice).await.ok(201);
    let before = stored(&app).await;
    bob.post(&format!("/groups/{group}/remove"), json!({"user_id": alice.id})).await.ok(200);
    once.send(&alice).await.problem(404, "not_found");
    only_this_stays(&app, before).await;
}

#[tokio::test]
async fn a_repeat_is_known_by_the_bytes_of_its_files() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let form = |files: &[&str]| {
        let form = to(&bob).field("message", "hi").field("client_message_id", "k");
        files.iter().fold(form, |form, content| form.file("a.txt", content.as_bytes()))
    };
    let first = form(&["1", "2"]).send(&alice).await.ok(201);
    let before = stored(&app).await;
    let again = form(&["1", "2"]).send(&alice).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok(201), first);
    for other in [&["2", "1"][..], &["1"], &["1", "2", "3"], &[]] {
        form(other).send(&alice).await.problem(422, "idempotency_key_reused");
    }
    only_this_stays(&app, before).await;
    // As JSON, of files that hold the same; and a form that names what the first one brought.
    let (one, two) = (upload(&alice, "x", "1").await, upload(&alice, "y", "2").await);
    let body = |files: [&Value; 2]| {
        let files = files.map(|file| &file["id"]);
        json!({"recipient_user_id": bob.id, "message": "hi", "client_message_id": "k", "attachments": files})
    };
    let as_json = alice.post("/messages", body([&one, &two])).await;
    assert_eq!(as_json.header("idempotent-replayed"), "true");
    assert_eq!(as_json.ok(201), first);
    alice.post("/messages", body([&two, &one])).await.problem(422, "idempotency_key_reused");
    let named = to(&bob).field("message", "hi").field("client_message_id", "k");
    let named = named.field("attachments", id(&first["attachments"][0])).file("z", b"2");
    assert_eq!(named.send(&alice).await.ok(201), first);
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"], json!([first]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_repeats_at_once_are_one_message_with_one_set_of_files() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let elsewhere = other.seen_by(&alice);
    let form = to(&bob).file("a", b"1").field("client_message_id", "k").file("b", b"2");
    let sends = (0..50).map(|n| {
        let actor = if n % 2 == 0 { &alice } else { &elsewhere };
        form.clone().send(actor)
    });
    let answers = join_all(sends).await;
    let fresh = answers.iter().filter(|a| a.header("idempotent-replayed").is_empty()).count();
    assert_eq!(fresh, 1);
    let first = answers[0].clone().ok(201);
    for answer in answers {
        assert_eq!(answer.ok(201), first);
    }
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"], json!([first]));
    only_this_stays(&app, [2, 2, 2]).await;
    for file in first["attachments"].as_array().expect("files") {
        assert_eq!(fetch(&bob, file, "url").await.status, 200);
    }
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_nothing() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let start = to(&bob).file("a", b"whole").file("b", &noise(900_000)).0;
    let begun = stream::iter([Ok::<_, std::io::Error>(start)]);
    let body = Body::wrap_stream(begun.chain(stream::pending()));
    let request = tokio::time::timeout(Duration::from_secs(3), post(&alice, body));
    let upload = async { request.await.expect_err("no answer") };
    let watch = async {
        while stored(&app).await[2] < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(upload, watch);
    nothing_stays(&app).await;
}

#[tokio::test]
async fn forms_count_as_uploads_and_json_as_writes() {
    let app = TestApp::with(|settings| {
        let quota = |limit| {
            let limit = NonZeroU32::new(limit).expect("not zero");
            Some(Quota { limit, window: Duration::from_hours(1) })
        };
        (settings.limits.upload, settings.limits.write) = (quota(3), quota(100));
    })
    .await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let hi = || to(&bob).field("message", "hi");
    for left in [2, 1] {
        let sent = hi().send(&alice).await;
        assert_eq!(sent.header("ratelimit-policy"), "\"upload\";q=3;w=3600");
        assert!(sent.header("ratelimit").starts_with(&format!("\"upload\";r={left};")));
        sent.ok(201);
    }
    let body = json!({"recipient_user_id": bob.id, "message": "hi"});
    for (left, content_type) in [(99, "application/json"), (98, "text/plain"), (97, "")] {
        let request = alice.request("POST", "/messages").header("content-type", content_type);
        let sent = Answer::of(request.body(body.to_string())).await;
        assert!(sent.header("ratelimit").starts_with(&format!("\"write\";r={left};")));
        assert_eq!(sent.status, if left == 99 { 201 } else { 415 });
    }
    // However it is spelt, and whether it can be read or not.
    let broken =
        alice.request("POST", "/messages").header("content-type", "Multipart/Form-Data ;a");
    Answer::of(broken.body("x")).await.problem(415, "unsupported_media_type");
    hi().send(&alice).await.problem(429, "rate_limited");
    alice.post("/messages", body).await.ok(201);
}
