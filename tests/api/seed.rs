//! The demo: loaded whole, once, whatever happens on the way, and usable as if people had made it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::app;
use natter::app::Beside;
use natter::internals::domain::{AttachmentId, GroupId, UserId, random_bytes};
use natter::internals::services::Made;
use serde_json::Value;

use crate::support::instance::environment;
use crate::support::{Actor, TestApp};

/// All that `fixtures/demo` has.
const ALL: Made = Made { users: 20, attachments: 3, friendships: 34, groups: 5, messages: 500 };

async fn seed(app: &TestApp) -> Result<Made, String> {
    seed_beside(app, Beside::OwnAccounts).await
}

async fn seed_beside(app: &TestApp, beside: Beside) -> Result<Made, String> {
    let seeded = Box::pin(app::seed(app.settings().clone(), Path::new("demo"), beside)).await;
    seeded.map_err(|failure| failure.to_string())
}

/// One of the demo's people, signed in.
async fn person(app: &TestApp, name: &str) -> Actor {
    let (email, password) = (format!("{name}@example.com"), format!("correct horse {name}"));
    let body = serde_json::json!({ "email": email, "password": password });
    let login = app.post("/login", body).await.ok(200);
    Actor::new(app, &email, &password, &login)
}

async fn items(actor: &Actor, path: &str) -> Vec<Value> {
    actor.get(path).await.ok(200)["items"].as_array().expect("items").clone()
}

/// Every document of the database, by collection; but for what the instance goes on filling from
/// them, and its lease for that.
async fn everything(app: &TestApp) -> BTreeMap<String, Vec<Document>> {
    let database = app.database().await;
    let mut all = BTreeMap::new();
    for name in database.list_collection_names().await.expect("names") {
        if ["message_words", "meta", "unindexed"].contains(&name.as_str()) {
            continue;
        }
        let collection = database.collection::<Document>(&name);
        // Periodic jobs run at any time.
        let which = if name == "jobs" {
            doc! { "kind": "mail" }
        } else {
            doc! {}
        };
        let rows = collection.find(which).sort(doc! { "_id": 1 }).await;
        let rows: Vec<Document> = rows.expect("rows").try_collect().await.expect("rows");
        all.insert(name, rows);
    }
    all
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

fn count(all: &BTreeMap<String, Vec<Document>>, prefix: &str) -> usize {
    let collections = all.iter().filter(|(name, _)| name.starts_with(prefix));
    collections.map(|(_, rows)| rows.len()).sum()
}

/// How many rows there are, mails aside, which leave as they are sent.
async fn rows(app: &TestApp) -> usize {
    let all = everything(app).await;
    count(&all, "") - count(&all, "jobs")
}

#[tokio::test]
async fn loading_again_changes_nothing() {
    let app = TestApp::spawn().await;
    assert_eq!(seed(&app).await, Ok(ALL));
    let before = everything(&app).await;
    assert_eq!(seed(&app).await, Ok(Made::default()));
    assert_eq!(everything(&app).await, before);
    // Not by their exactly-once keys alone, which are only kept for a day.
    app.database().await.collection::<Document>("message_keys").drop().await.expect("dropped");
    assert_eq!(seed(&app).await, Ok(Made::default()));
    is_complete(&everything(&app).await);
}

/// The demo, of which a part is missing; ids follow from its name, so they are the same.
struct PartOfDemo {
    directory: PathBuf,
}

impl Drop for PartOfDemo {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl PartOfDemo {
    /// At most so many entries of each file, and so many messages of each conversation.
    fn new(entries: &[(&str, usize)], messages: usize) -> Self {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo");
        let name = format!("natter-{}", u64::from_be_bytes(random_bytes()));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(directory.join("demo")).expect("a directory");
        std::os::unix::fs::symlink(whole.join("files"), directory.join("demo/files"))
            .expect("a link");
        for (file, count) in entries {
            let text = std::fs::read_to_string(whole.join(file)).expect("a file");
            let mut json: Vec<Value> = serde_json::from_str(&text).expect("JSON");
            json.truncate(*count);
            let said =
                json.iter_mut().filter_map(|entry| entry.get_mut("messages")?.as_array_mut());
            said.for_each(|said| said.truncate(messages));
            let json = serde_json::to_vec(&json).expect("JSON");
            std::fs::write(directory.join("demo").join(file), json).expect("a file");
        }
        Self { directory }
    }

    async fn seed(&self, app: &TestApp) {
        let directory = self.directory.join("demo");
        let seeded = app::seed(app.settings().clone(), &directory, Beside::OwnAccounts);
        Box::pin(seeded).await.expect("a load");
    }
}

#[tokio::test]
async fn a_load_that_was_cut_short_is_completed() {
    let app = TestApp::spawn().await;
    let files = |friendships, groups, conversations| {
        [
            ("users.json", 20),
            ("attachments.json", 3),
            ("friendships.json", friendships),
            ("groups.json", groups),
            ("conversations.json", conversations),
        ]
    };
    PartOfDemo::new(&files(7, 0, 0), 0).seed(&app).await;
    PartOfDemo::new(&files(34, 5, 18), 3).seed(&app).await;
    PartOfDemo::new(&files(34, 5, 16), 30).seed(&app).await;
    undo_second_steps(&app.database().await).await;
    seed(&app).await.expect("a load");
    assert_eq!(seed(&app).await, Ok(Made::default()));
    is_complete(&everything(&app).await);
}

/// Leaves entries between two of their steps: asked but not accepted, begun but not uploaded,
/// made but without a picture.
async fn undo_second_steps(database: &Database) {
    let update = async |collection: &str, filter: Document, change: Document| {
        let rows = database.collection::<Document>(collection);
        let updated = rows.update_one(filter, change).await.expect("an update");
        assert_eq!(updated.modified_count, 1, "{collection}");
    };
    let named = |reference| ["natter/seed", "demo", reference];
    let ada = UserId::named(&named("$user:ada")).bytes();
    let asked_by_ada = doc! { "status": "accepted", "requested_by": binary(&ada) };
    update("relations", asked_by_ada, doc! { "$set": { "status": "pending" } }).await;
    let drawing = doc! { "content_type": "image/png" };
    update("attachments", drawing, doc! { "$set": { "state": "uploading" } }).await;
    let shown = doc! { "picture": { "$ne": null } };
    update("groups", shown.clone(), doc! { "$set": { "picture": null } }).await;
    let (orbit, moon) = (named("$attachment:orbit"), named("$group:moon"));
    let orbit = [AttachmentId::named(&orbit).bytes(), GroupId::named(&moon).bytes()].concat();
    let used = doc! { "_id": binary(&[orbit.as_slice(), &[0; 8]].concat()) };
    let uses = database.collection::<Document>("attachment_uses");
    assert_eq!(uses.delete_one(used).await.expect("a use").deleted_count, 1);
    update("users", shown, doc! { "$set": { "picture": null } }).await;
}

fn is_complete(all: &BTreeMap<String, Vec<Document>>) {
    for (prefix, rows) in [
        ("users", 20),
        ("attachments", 3),
        ("relations", 34),
        ("groups", 5),
        ("messages_", 500),
        ("sends", 500),
        ("conversations", 18),
        ("tokens", 0),
    ] {
        assert_eq!(count(all, prefix), rows, "{prefix}");
    }
    let has = |collection: &str, field: &str, value: &str| {
        let rows = all[collection].iter();
        rows.filter(|row| row.get_str(field).is_ok_and(|found| found == value)).count()
    };
    assert_eq!(has("jobs", "kind", "mail"), 0);
    assert_eq!(has("relations", "status", "accepted"), 22);
    assert_eq!(has("attachments", "state", "ready"), 3);
    let pictured = |collection: &str| {
        all[collection].iter().filter(|row| row.get_document("picture").is_ok()).count()
    };
    assert_eq!((pictured("users"), pictured("groups")), (1, 1));
}

#[tokio::test]
async fn the_demo_looks_as_if_people_had_made_it() {
    let app = TestApp::spawn().await;
    seed(&app).await.expect("a load");
    let (ada, grace) = (person(&app, "ada").await, person(&app, "grace").await);
    what_is_said_is_there_in_its_order(&ada).await;
    friends_stand_in_every_state(&ada).await;
    files_are_attached(&ada, &grace).await;
    groups_have_roles_and_pictures(&grace).await;
}

async fn what_is_said_is_there_in_its_order(ada: &Actor) {
    let fixture = include_str!("../../fixtures/demo/conversations.json");
    let told: Vec<Value> = serde_json::from_str(fixture).expect("JSON");
    let groups: Vec<String> = items(ada, "/groups")
        .await
        .iter()
        .map(|group| group["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(groups.len(), 2);
    let mut seen = 0;
    for group in groups {
        let page = ada.get(&format!("/conversations/{group}/messages?limit=100")).await.ok(200);
        let mut texts: Vec<&Value> =
            page["items"].as_array().expect("items").iter().map(|m| &m["message"]).collect();
        texts.reverse();
        let same = told.iter().any(|conversation| {
            let messages = conversation["messages"].as_array().expect("messages");
            messages.iter().map(|message| &message["text"]).eq(texts.iter().copied())
        });
        assert!(same, "{texts:?}");
        seen += texts.len();
    }
    assert_eq!(seen, 63 + 51);
}

async fn friends_stand_in_every_state(ada: &Actor) {
    for (status, names) in [
        ("accepted", vec!["alan", "grace", "konrad"]),
        ("incoming", vec!["edsger", "hedy", "kathleen"]),
        ("outgoing", vec!["katherine", "lynn"]),
    ] {
        let friends = items(ada, &format!("/friends?status={status}")).await;
        let mut found: Vec<_> =
            friends.iter().filter_map(|friend| friend["user"]["username"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{status}");
    }
}

async fn files_are_attached(ada: &Actor, grace: &Actor) {
    let history = items(grace, &format!("/messages/{}?limit=100", ada.id)).await;
    assert_eq!(history.len(), 41);
    let drawing = history.iter().find(|m| m["attachments"][0].is_object()).expect("a drawing");
    let answer = history.iter().find(|m| m["reply_to"].is_string()).expect("an answer");
    assert_eq!(answer["reply_to"], drawing["id"]);
    let file = &drawing["attachments"][0];
    assert_eq!(file["filename"], "Analytical Engine – mill & store.png");
    let bytes = grace.get(file["url"].as_str().expect("a url")).await;
    assert_eq!(bytes.body, include_bytes!("../../fixtures/demo/files/engine.png"));
    let profile = ada.get("/profile").await.ok(200);
    assert_eq!(profile["profile_picture"]["content_type"], "image/jpeg");
}

async fn groups_have_roles_and_pictures(grace: &Actor) {
    let groups = items(grace, "/groups").await;
    let moon = groups.iter().find(|group| group["group_picture"].is_object()).expect("a picture");
    assert_eq!(moon["group_picture"]["content_type"], "image/webp");
    let moon = grace.get(&format!("/groups/{}", moon["id"].as_str().expect("an id"))).await.ok(200);
    let role = |name: &str| {
        let members = moon["members"].as_array().expect("members");
        let member = members.iter().find(|member| member["user"]["username"] == name);
        member.expect("a member")["role"].clone()
    };
    assert_eq!([role("katherine"), role("annie"), role("grace")], ["owner", "admin", "member"]);
}

#[tokio::test]
async fn a_name_that_somebody_has_is_named() {
    let app = TestApp::spawn().await;
    let input = serde_json::json!({
        "username": "Grace", "email": "other@example.com", "password": "correct horse",
    });
    app.post("/signup", input).await.ok(201);
    let line = seed_beside(&app, Beside::RealAccounts).await.expect_err("refused");
    let expected = "fixture demo: users.json, $user:grace: username_taken: name is already in use";
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_database_with_other_accounts_is_refused_unless_told() {
    let app = TestApp::spawn().await;
    seed(&app).await.expect("a load");
    // Its own people may live on, and it may be loaded again.
    let ada = person(&app, "ada").await;
    ada.put("/profile", serde_json::json!({"username": "countess"})).await.ok(200);
    assert_eq!(seed(&app).await, Ok(Made::default()));
    app.sign_up("somebody").await;
    let before = rows(&app).await;
    let line = seed(&app).await.expect_err("refused");
    assert!(
        line.starts_with(&format!("database {} has accounts", app.settings().mongodb.database))
    );
    assert!(line.contains("--beside-real-accounts") && !line.contains('\n'), "{line}");
    assert_eq!(rows(&app).await, before);
    assert_eq!(seed_beside(&app, Beside::RealAccounts).await, Ok(Made::default()));
}

#[tokio::test]
async fn the_command_says_so_by_its_exit_code() {
    let app = TestApp::spawn().await;
    app.sign_up("somebody").await;
    for (arguments, code) in [
        (&["seed", "demo"][..], 3),
        (&["seed", "--users", "2"], 3),
        (&["seed", "demo", "--beside-real-accounts"], 0),
    ] {
        let mut natter = tokio::process::Command::new(env!("CARGO_BIN_EXE_natter"));
        natter.args(arguments).env_clear().envs(environment(&app));
        let output = natter.output().await.expect("the program");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        if code == 3 {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> =
                said.lines().filter(|line| line.starts_with("natter: ")).collect();
            assert_eq!(lines.len(), 1, "{said}");
        }
    }
}
