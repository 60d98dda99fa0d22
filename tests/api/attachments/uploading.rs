//! POST /attachments: what is taken, what is refused, and that nothing stays of that.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::internals::domain::AttachmentId;
use natter::internals::services::{Attachments, UnreadAnswers};
use natter::internals::store::{Repositories, Store};
use reqwest::Body;

use super::{LIMIT, fetch, noise, nothing_stays, send, send_raw, stored, upload};
use crate::support::{Answer, TestApp};

const BEGIN: &str =
    "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
const END: &str = "\r\n--x--\r\n";

/// A form with one file, as one piece.
fn whole(file: &[u8]) -> Vec<u8> {
    [BEGIN.as_bytes(), file, END.as_bytes()].concat()
}

/// The same in many pieces, of unknown length: chunked over HTTP/1.1.
fn pieces(form: &[u8]) -> Body {
    let pieces: Vec<_> =
        form.chunks(10_000).map(|it| Ok::<_, std::io::Error>(it.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

#[tokio::test]
async fn a_file_comes_back_as_it_was() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let sent = upload(&alice, "/tmp/../päper.txt", "héllo\n").await;
    let id = sent["id"].as_str().expect("an id");
    // printf 'h\303\251llo\n' | sha256sum
    let sha256 = "b95becd154aa095f76c4ca47a5aeb8350d6dfcb838404edfc9dae06628de938d";
    let expected = serde_json::json!({
        "id": id, "filename": "päper.txt", "content_type": "text/plain; charset=utf-8",
        "size": 7, "sha256": sha256, "width": null, "height": null,
        "url": format!("/attachments/{id}"), "thumbnail_url": null,
        "created_at": app.clock().now().to_string(),
    });
    assert_eq!(sent, expected);
    let got = fetch(&alice, &sent, "url").await;
    assert_eq!((got.status, got.text().as_str()), (200, "héllo\n"));
    alice.get(&format!("/attachments/{id}/thumbnail")).await.problem(404, "not_found");
}

#[tokio::test]
async fn five_mebibytes_are_stored_and_one_byte_more_is_not() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let bytes = noise(LIMIT);
    let sent = upload(&alice, "full.bin", bytes.clone()).await;
    assert_eq!(sent["size"], LIMIT);
    assert!(fetch(&alice, &sent, "url").await.body == bytes, "other bytes came back");
    let chunked = send_raw(&alice, pieces(&whole(&bytes))).await.ok(201);
    assert_eq!(chunked["sha256"], sent["sha256"]);
    let before = stored(&app).await;
    assert_eq!(before[..2], [2, 2]);

    let more = noise(LIMIT + 1);
    send(&alice, "over.bin", more.clone()).await.problem(413, "payload_too_large");
    send_raw(&alice, whole(&more)).await.problem(413, "payload_too_large");
    send_raw(&alice, pieces(&whole(&more))).await.problem(413, "payload_too_large");
    let far = noise(LIMIT + 900_000);
    send_raw(&alice, pieces(&whole(&far))).await.problem(413, "payload_too_large");
    for _ in 0..100 {
        if stored(&app).await == before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("something stays: {:?}", stored(&app).await);
}

#[tokio::test]
async fn the_limit_counts_over_http_1_as_well() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).http1_only();
    let http = http.build().expect("a client");
    let send = async |body: Body| {
        let request = http.post(format!("{}/attachments", app.url)).bearer_auth(&alice.token);
        let request = request.header("content-type", "multipart/form-data; boundary=x");
        Answer::of(request.body(body)).await
    };
    let (full, more) = (whole(&noise(LIMIT)), whole(&noise(LIMIT + 1)));
    send(full.clone().into()).await.ok(201);
    send(pieces(&full)).await.ok(201);
    send(more.clone().into()).await.problem(413, "payload_too_large");
    send(pieces(&more)).await.problem(413, "payload_too_large");
    send(pieces(&whole(&noise(LIMIT + 1_000_000)))).await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn what_is_not_one_file_is_refused_and_nothing_stays() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let nobody = Answer::of(app.request("POST", "/attachments").body("x")).await;
    nobody.problem(401, "missing_token");
    alice.post("/attachments", serde_json::json!({})).await.problem(415, "unsupported_media_type");
    let no_boundary = alice.request("POST", "/attachments");
    let no_boundary = no_boundary.header("content-type", "multipart/form-data").body("--x--");
    Answer::of(no_boundary).await.problem(415, "unsupported_media_type");

    for broken in ["", "x", BEGIN, "--x\r\n\r\nabc", &format!("{BEGIN}abc\r\n--x")] {
        send_raw(&alice, broken.to_owned()).await.problem(400, "malformed_multipart");
    }
    let endless = |length| format!("--x\r\nx-long: {}", "a".repeat(length));
    send_raw(&alice, endless(200_000)).await.problem(400, "malformed_multipart");
    send_raw(&alice, endless(LIMIT + 100_000)).await.problem(413, "payload_too_large");
    let other =
        "--x\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\na\r\n--x--";
    send_raw(&alice, other).await.invalid(&["file"]);
    send_raw(&alice, "--x--").await.invalid(&["file"]);
    send_raw(&alice, whole(b"")).await.invalid(&["file"]);
    let two = format!("{BEGIN}a\r\n{BEGIN}b{END}");
    send_raw(&alice, two).await.invalid(&["file"]);
    nothing_stays(&app).await;
    let extra = "--x\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhi\r\n";
    let taken = send_raw(&alice, format!("{extra}{BEGIN}a{END}")).await.ok(201);
    assert_eq!(taken["filename"], "a.bin");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let start = [BEGIN.as_bytes(), &noise(1_000_000)].concat();
    let begun = stream::iter([Ok::<_, std::io::Error>(start)]);
    let body = Body::wrap_stream(begun.chain(stream::pending()));
    let request = tokio::time::timeout(Duration::from_secs(2), send_raw(&alice, body));
    let upload = async { request.await.expect_err("no answer") };
    let watch = async {
        while stored(&app).await[2] < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(upload, watch);
    nothing_stays(&app).await;

    let broken = Err(std::io::Error::other("the client breaks off"));
    let body = Body::wrap_stream(stream::iter([Ok(noise(1_000_000)), broken]));
    let request = alice.request("POST", "/attachments").body(body);
    let form = request.header("content-type", "multipart/form-data; boundary=x");
    assert!(form.send().await.is_err());
    nothing_stays(&app).await;
}

#[tokio::test]
async fn what_a_crash_left_is_collected_after_an_hour() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let alice = app.user("alice").await;
    upload(&alice, "a.txt", "stays").await;
    let binary = |bytes: &[u8]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    let uploader: uuid::Uuid = alice.id.parse().expect("a UUID");
    let database = app.database().await;
    let begin = async || {
        let id = AttachmentId::random().bytes();
        let now = mongodb::bson::DateTime::from_millis(app.clock().now().millis());
        let row = doc! {
            "_id": binary(&id), "uploader": binary(uploader.as_bytes()), "state": "uploading",
            "filename": "a", "created_at": now,
        };
        database.collection::<Document>("attachments").insert_one(row).await.expect("a row");
        let chunk = doc! { "files_id": binary(&id), "n": 0, "data": binary(b"abc") };
        database.collection::<Document>("fs.chunks").insert_one(chunk).await.expect("a chunk");
    };
    begin().await;
    app.advance(Duration::from_secs(3601));
    begin().await;
    assert_eq!(stored(&app).await, [3, 1, 3]);

    let mongodb = &app.settings().mongodb;
    let store = Store::new(mongodb.uri.expose(), &mongodb.database).await.expect("a store");
    let attachments =
        Attachments::new(&Repositories::new(&store, 4), app.clock(), &UnreadAnswers::unread());
    assert_eq!(attachments.collect_abandoned().await.expect("collected"), 1);
    assert_eq!(stored(&app).await, [2, 1, 2]);
    assert_eq!(attachments.collect_abandoned().await.expect("collected"), 0);
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_is_malformed() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"".to_vec();
    form.extend(b"\xff.txt\"\r\n\r\nhello\r\n--x--\r\n");
    let request = alice.request("POST", "/attachments").body(form);
    let request = request.header("content-type", "multipart/form-data; boundary=x");
    Answer::of(request).await.problem(400, "malformed_multipart");
}
