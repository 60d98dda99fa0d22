//! GET /attachments/{id}: its headers, its ranges, and who gets it.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::internals::domain::{AttachmentId, ConversationId};
use serde_json::{Value, json};

use super::{fetch, noise, upload};
use crate::support::{Actor, Answer, TestApp};

const CHUNK: usize = 64 * 1024;

async fn ask(actor: &Actor, file: &Value, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = actor.request("GET", file["url"].as_str().expect("a path"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

#[tokio::test]
async fn nothing_but_images_is_shown_in_place() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let svg = "<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"x()\"/>";
    let files: [(&str, &[u8], &str); 8] = [
        ("a.png", b"<!DOCTYPE html><script>alert(1)</script>", "text/html"),
        ("a.svg", svg.as_bytes(), "text/xml"),
        ("b.svg", b"<svg onload='alert(1)'/>", "text/plain; charset=utf-8"),
        ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "application/pdf"),
        ("a.js", b"alert(1)", "text/plain; charset=utf-8"),
        ("a.bin", b"\0\x01\x02\x03", "application/octet-stream"),
        ("a.jpg", b"\xff\xd8\xff\xe0<script>alert(1)</script>", "application/octet-stream"),
        ("a.webp", b"RIFF\x10\0\0\0WEBPVP8 <html>", "application/octet-stream"),
    ];
    for (name, bytes, content_type) in files {
        let sent = upload(&alice, name, bytes).await;
        assert_eq!(sent["content_type"], content_type, "{name}");
        assert_eq!(sent["thumbnail_url"], Value::Null, "{name}");
        let got = fetch(&alice, &sent, "url").await;
        assert_eq!((got.status, got.body.as_slice()), (200, bytes), "{name}");
        assert_eq!(got.header("content-type"), content_type, "{name}");
        let disposition = format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}");
        assert_eq!(got.header("content-disposition"), disposition);
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(got.header("cache-control"), "private, no-cache");
    }
}

#[tokio::test]
async fn names_neither_leave_their_header_nor_name_a_place() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (given, kept, disposition) in [
        (
            "\"><script>alert(1)</script>.png",
            "script>.png",
            "filename=\"script>.png\"; filename*=UTF-8''script%3E.png",
        ),
        ("..\\..\\a.exe", "a.exe", "filename=\"a.exe\"; filename*=UTF-8''a.exe"),
        ("a\";x=\"b", "a\";x=\"b", "filename=\"a_;x=_b\"; filename*=UTF-8''a%22%3Bx%3D%22b"),
        ("\u{202e}gnp.ex", "gnp.ex", "filename=\"gnp.ex\"; filename*=UTF-8''gnp.ex"),
        ("日本.txt", "日本.txt", "filename=\"__.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
        ("", "file", "filename=\"file\"; filename*=UTF-8''file"),
    ] {
        let sent = upload(&alice, given, "x").await;
        assert_eq!(sent["filename"], kept, "{given}");
        let got = fetch(&alice, &sent, "url").await;
        assert_eq!(got.header("content-disposition"), format!("attachment; {disposition}"));
    }
    let long = upload(&alice, &format!("{}.txt", "ä".repeat(300)), "x").await;
    let name = long["filename"].as_str().expect("a name");
    assert!(name.len() <= 255 && name.ends_with("ä.txt"), "{name}");
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let sent = upload(&alice, "a.txt", "hello").await;
    let etag = format!("\"{}\"", sent["sha256"].as_str().expect("a digest"));
    assert_eq!(fetch(&alice, &sent, "url").await.header("etag"), etag);
    let got = ask(&alice, &sent, &[("if-none-match", &etag), ("range", "bytes=0-0")]).await;
    assert_eq!((got.status, got.body.len(), got.header("etag")), (304, 0, etag.as_str()));
    assert_eq!(got.header("cache-control"), "private, no-cache");
    assert_eq!(ask(&alice, &sent, &[("if-none-match", "\"other\"")]).await.status, 200);
    // Who may not read learns nothing from a tag either.
    let eve = app.user("eve").await;
    ask(&eve, &sent, &[("if-none-match", &etag)]).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_part_is_sent_alone() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let bytes = noise(2 * CHUNK + 1000);
    let sent = upload(&alice, "a.bin", bytes.clone()).await;
    let size = bytes.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        (&format!("bytes={}-{}", CHUNK - 1, CHUNK), CHUNK - 1, CHUNK + 1),
        (&format!("bytes={CHUNK}-{}", 2 * CHUNK - 1), CHUNK, 2 * CHUNK),
        ("bytes=100-", 100, size),
        ("bytes=-1500", size - 1500, size),
    ] {
        let got = ask(&alice, &sent, &[("range", range)]).await;
        assert_eq!(got.status, 206, "{range}");
        assert!(got.body == bytes[from..to], "{range}: other bytes");
        assert_eq!(got.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(got.header("content-length"), (to - from).to_string());
    }
    for whole in ["bytes=0-1,5-6", "lines=1-2", "bytes=9-1"] {
        let got = ask(&alice, &sent, &[("range", whole)]).await;
        assert_eq!((got.status, got.body.len()), (200, size), "{whole}");
        assert_eq!(got.header("accept-ranges"), "bytes");
    }
    let outside = ask(&alice, &sent, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(outside.header("content-range"), format!("bytes */{size}"));
    outside.problem(416, "range_not_satisfiable");
    let etag = fetch(&alice, &sent, "url").await.header("etag").to_owned();
    let same = ask(&alice, &sent, &[("range", "bytes=0-0"), ("if-range", &etag)]).await;
    let other = ask(&alice, &sent, &[("range", "bytes=0-0"), ("if-range", "\"x\"")]).await;
    assert_eq!((same.status, other.status), (206, 200));
}

#[tokio::test]
async fn head_says_how_long_it_is() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let sent = upload(&alice, "a.bin", noise(300_000)).await;
    let got = Answer::of(alice.request("HEAD", sent["url"].as_str().expect("a path"))).await;
    assert_eq!((got.status, got.header("content-length"), got.body.len()), (200, "300000", 0));
}

fn bytes_of(id: &str) -> Vec<u8> {
    id.parse::<uuid::Uuid>().expect("a UUID").as_bytes().to_vec()
}

fn binary(parts: &[&[u8]]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: parts.concat() }
}

async fn put(app: &TestApp, collection: &str, row: Document) {
    let rows = app.database().await.collection::<Document>(collection);
    rows.insert_one(row).bypass_document_validation(true).await.expect("inserted");
}

#[tokio::test]
async fn only_those_who_are_shown_a_file_may_read_it() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let sent = upload(&alice, "a.txt", "hello").await;
    let file = bytes_of(sent["id"].as_str().expect("an id"));
    let status = async |actor: &Actor| fetch(actor, &sent, "url").await.status;
    let unknown = format!("/attachments/{}", AttachmentId::random());
    for stranger in [&bob, &eve] {
        let refused = fetch(stranger, &sent, "url").await.problem(404, "not_found");
        let missing = stranger.get(&unknown).await.problem(404, "not_found");
        assert_eq!(refused["detail"], missing["detail"]);
    }
    assert_eq!(app.get(sent["url"].as_str().expect("a path")).await.status, 401);

    // Sent to bob, the way he gets it.
    let input = json!({"recipient_user_id": bob.id, "message": "", "attachments": [sent["id"]]});
    let message = alice.post("/messages", input).await.ok(201);
    assert_eq!(message["attachments"], json!([sent]));
    assert_eq!((status(&bob).await, status(&eve).await), (200, 404));
    let stolen = json!({"recipient_user_id": eve.id, "message": "", "attachments": [sent["id"]]});
    bob.post("/messages", stolen).await.invalid(&["attachments[0]"]);
    let uses = app.database().await.collection::<Document>("attachment_uses");
    uses.delete_many(doc! {}).await.expect("deleted");

    // Sent to many conversations, and often to each; bob is in one of them.
    for n in 0..60_u8 {
        let conversation = [n; 16];
        for seq in [1_u64, 7] {
            let key = binary(&[&file, &conversation, &seq.to_be_bytes()]);
            put(&app, "attachment_uses", doc! { "_id": key }).await;
        }
    }
    assert_eq!((status(&bob).await, status(&eve).await), (404, 404));
    let conversation = ConversationId::from_bytes([55; 16]);
    let member = binary(&[&conversation.bytes(), &bytes_of(&bob.id)]);
    put(&app, "members", doc! { "_id": member.clone() }).await;
    assert_eq!((status(&bob).await, status(&eve).await), (200, 404));

    let members = app.database().await.collection::<Document>("members");
    members.delete_one(doc! { "_id": member }).await.expect("deleted");
    assert_eq!(status(&bob).await, 404);
}

#[tokio::test]
async fn a_profile_picture_is_for_everyone_who_is_signed_in() {
    let app = TestApp::spawn().await;
    let (alice, eve) = (app.user("alice").await, app.user("eve").await);
    let sent = upload(&alice, "a.gif", super::images::gif(3, 2)).await;
    assert_eq!(fetch(&eve, &sent, "url").await.status, 404);
    let users = app.database().await.collection::<Document>("users");
    let picture =
        doc! { "picture": { "id": binary(&[&bytes_of(sent["id"].as_str().expect("an id"))]) } };
    let alices = doc! { "_id": binary(&[&bytes_of(&alice.id)]) };
    users.update_one(alices, doc! { "$set": picture }).await.expect("updated");
    assert_eq!(fetch(&eve, &sent, "url").await.status, 200);
    assert_eq!(fetch(&eve, &sent, "thumbnail_url").await.status, 200);
    assert_eq!(app.get(sent["url"].as_str().expect("a path")).await.status, 401);
}
