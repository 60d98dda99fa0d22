//! Bodies: what JSON rows and forms refuse, and that an answer arrives whatever comes.

use bytes::Bytes;
use natter::internals::filters::{Body, Endpoint};
use serde_json::{Map, Value, json};

use super::{as_json, label, padded, refused, request};
use crate::support::{Answer, TestApp};

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

fn json_rows() -> Vec<(Endpoint, u64)> {
    let rows = natter::internals::table().into_iter();
    let rows = rows.filter_map(|row| match row.body {
        Body::Json { limit } | Body::JsonOrMultipart { limit, .. } => Some((row, limit)),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 10, "the table is empty");
    rows
}

/// The same bytes without a `Content-Length`.
fn chunked(body: &[u8]) -> reqwest::Body {
    let chunks: Vec<_> = body.chunks(1000).map(Bytes::copy_from_slice).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(
        chunks.into_iter().map(Ok::<_, std::convert::Infallible>),
    ))
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
    for row in natter::internals::table() {
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
