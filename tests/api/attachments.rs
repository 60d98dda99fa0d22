//! Files: sending, seeing and fetching them.

mod bombs;
pub mod collecting;
pub mod images;
mod memory;
mod metadata;
mod office;
mod reading;
mod unread;
mod uploading;

use mongodb::bson::{Document, doc};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::{Actor, Answer, TestApp};

/// The most that a file may have.
pub const LIMIT: usize = 5 * 1024 * 1024;

/// Sends a file that claims to be of a type it is not.
pub async fn send(actor: &Actor, filename: &str, bytes: impl Into<Vec<u8>>) -> Answer {
    let part = Part::bytes(bytes.into()).file_name(filename.to_owned());
    let part = part.mime_str("image/png").expect("a media type");
    Answer::of(actor.request("POST", "/attachments").multipart(Form::new().part("file", part)))
        .await
}

/// Sends a file that is taken.
pub async fn upload(actor: &Actor, filename: &str, bytes: impl Into<Vec<u8>>) -> Value {
    send(actor, filename, bytes).await.ok(201)
}

/// Uploads a picture and gives its id.
pub async fn picture(actor: &Actor) -> String {
    let file = upload(actor, "picture.gif", images::gif(4, 4)).await;
    file["id"].as_str().expect("an id").to_owned()
}

/// Sends a body as a form with the boundary `x`.
async fn send_raw(actor: &Actor, body: impl Into<reqwest::Body>) -> Answer {
    let request = actor.request("POST", "/attachments");
    Answer::of(request.header("content-type", "multipart/form-data; boundary=x").body(body)).await
}

/// Fetches what an attachment's field `url` or `thumbnail_url` names.
pub async fn fetch(actor: &Actor, attachment: &Value, field: &str) -> Answer {
    actor.get(attachment[field].as_str().expect("a path")).await
}

/// Bytes that compress badly and are no text.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Documents about files: rows, GridFS files, GridFS chunks.
pub async fn stored(app: &TestApp) -> [u64; 3] {
    let database = app.database().await;
    let count = async |name| {
        let rows = database.collection::<Document>(name);
        rows.count_documents(doc! {}).await.expect("a count")
    };
    [count("attachments").await, count("fs.files").await, count("fs.chunks").await]
}

/// Waits until nothing is stored of any file.
pub async fn nothing_stays(app: &TestApp) {
    only_this_stays(app, [0, 0, 0]).await;
}

/// Waits until no more than so many documents about files are stored.
pub async fn only_this_stays(app: &TestApp, expected: [u64; 3]) {
    for _ in 0..100 {
        if stored(app).await == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{:?} stays", stored(app).await);
}
