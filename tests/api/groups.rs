//! Groups: making and changing them, who comes and goes, and the limits.

mod limits;
mod making;
mod members;
mod roles;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const NOBODY: &str = "7f8a0d2e-92be-4d33-a6bb-1e93ba0a7b5b";

async fn people(app: &TestApp, count: usize) -> Vec<Actor> {
    join_all((0..count).map(|n| async move { app.user(&format!("user{n}")).await })).await
}

async fn add(actor: &Actor, group: &str, user: &Actor) -> Answer {
    actor.post(&format!("/groups/{group}/add"), json!({"user_id": user.id})).await
}

async fn remove(actor: &Actor, group: &str, user: &Actor) -> Answer {
    actor.post(&format!("/groups/{group}/remove"), json!({"user_id": user.id})).await
}

async fn leave(actor: &Actor, group: &str) -> Answer {
    Answer::of(actor.request("POST", &format!("/groups/{group}/leave"))).await
}

async fn seen(actor: &Actor, group: &str) -> Value {
    actor.get(&format!("/groups/{group}")).await.ok(200)
}

/// Names and roles in a group, the first to join first.
fn roles(group: &Value) -> Vec<(&str, &str)> {
    let text = |value: &'_ Value| value.as_str().map(str::to_owned);
    let members = group["members"].as_array().expect("members");
    let roles = members.iter().map(|member| {
        assert_eq!(text(&member["role"]).as_deref() == Some("owner"), {
            member["user"]["id"] == group["owner_id"]
        });
        (member["user"]["username"].as_str().unwrap_or("?"), member["role"].as_str().unwrap_or("?"))
    });
    assert_eq!(group["member_count"], members.len());
    roles.collect()
}

async fn give_role(actor: &Actor, group: &str, user: &Actor, role: &str) -> Answer {
    actor.put(&format!("/groups/{group}/members/{}", user.id), json!({"role": role})).await
}

/// Lets the owner make someone an admin.
async fn promote(owner: &Actor, group: &str, user: &Actor) {
    assert_eq!(give_role(owner, group, user, "admin").await.ok(200)["role"], "admin");
}

fn uuid(id: &str) -> Vec<u8> {
    uuid::Uuid::parse_str(id).expect("an id").into_bytes().to_vec()
}

fn binary(bytes: Vec<u8>) -> mongodb::bson::Binary {
    mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes }
}

async fn count(app: &TestApp, collection: &str, filter: Document) -> u64 {
    let rows = app.database().await.collection::<Document>(collection);
    rows.count_documents(filter).await.expect("a count")
}

/// Uploads a file.
async fn upload(actor: &Actor, bytes: Vec<u8>) -> Value {
    let file = reqwest::multipart::Part::bytes(bytes).file_name("file");
    let form = reqwest::multipart::Form::new().part("file", file);
    Answer::of(actor.request("POST", "/attachments").multipart(form)).await.ok(201)
}

/// A small picture of one colour.
fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([shade; 3]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner()
}

/// What must hold of a group whatever has happened to it, as it is stored.
async fn check(app: &TestApp, group: &str) -> u64 {
    let id = binary(uuid(group));
    let rows = app.database().await.collection::<Document>("groups");
    let members = count(app, "members", doc! { "conversation_id": &id }).await;
    let row = rows.find_one(doc! { "_id": &id }).await.expect("an answer");
    let summaries = count(app, "conversations", doc! { "_id": &id }).await;
    let Some(row) = row else {
        assert_eq!((members, summaries), (0, 0), "nothing is left of a group that ended");
        return 0;
    };
    assert_eq!(summaries, 1);
    let stored =
        row.get_i64("member_count").or_else(|_| row.get_i32("member_count").map(i64::from));
    assert_eq!(u64::try_from(stored.expect("a number")), Ok(members));
    let owner = doc! { "conversation_id": &id, "role": "owner" };
    assert_eq!(count(app, "members", owner.clone()).await, 1, "one owner");
    let rows = app.database().await.collection::<Document>("members");
    let owner = rows.find_one(owner).await.expect("an answer").expect("an owner");
    assert_eq!(owner.get("user_id"), row.get("owner_id"));
    members
}

/// Someone's notification of unread messages in a conversation: how many.
async fn unread(actor: &Actor, group: &str) -> u64 {
    let page = actor.get("/notifications?limit=100").await.ok(200);
    let items = page["items"].as_array().expect("items");
    let item = items.iter().find(|i| i["type"] == "message" && i["conversation_id"] == group);
    item.map_or(0, |item| item["unread_count"].as_u64().expect("a number"))
}
