//! Populations: all there, as the service would have left it, however often it was begun.

mod invariants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use natter::app;
use natter::app::Beside;
use natter::internals::domain::Population;
use natter::internals::services::{PASSWORD, Populated, Progress, address};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{Actor, TestApp};

const POPULATION: Population = Population { users: 300, messages: 6000, random_seed: 7 };

async fn populate(app: &TestApp, report: impl FnMut(Progress)) -> Result<Populated, String> {
    let made = app::populate(app.settings(), POPULATION, Beside::OwnAccounts, report).await;
    made.map_err(|failure| failure.to_string())
}

/// Every document of the database, by collection; not what is kept about the database itself.
async fn everything(app: &TestApp) -> BTreeMap<String, Vec<Document>> {
    let database = app.database().await;
    let mut all = BTreeMap::new();
    for name in database.list_collection_names().await.expect("names") {
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

/// As [`everything`], without what differs between databases of the same population.
async fn population(app: &TestApp) -> BTreeMap<String, Vec<Document>> {
    let mut all = everything(app).await;
    for own in ["meta", "keys", "sessions"] {
        all.remove(own);
    }
    // Each database has a salt of its own.
    let users = all.get_mut("users").expect("users");
    for user in users {
        user.remove("password_hash");
    }
    all
}

async fn person(app: &TestApp, number: u32) -> Actor {
    app.login(&address(number), PASSWORD).await
}

#[tokio::test]
async fn a_population_is_as_the_service_would_have_left_it() {
    let app = TestApp::spawn().await;
    let made = populate(&app, |_| {}).await.expect("a population");
    assert_eq!((made.users, made.messages), (300, 6000));
    let all = everything(&app).await;
    invariants::hold(&all);
    assert_eq!(all["users"].len(), 300);
    assert_eq!(all["relations"].len(), made.relations);
    assert_eq!(all["groups"].len(), made.groups);
    assert_eq!(all["conversations"].len(), made.groups + made.conversations);
    for number in [0, 1, 5, 150, 299] {
        sees_it_right(&person(&app, number).await, &all).await;
    }
    goes_on(&app).await;
    invariants::hold(&everything(&app).await);
}

/// What one of its people sees of it is what is in the database.
async fn sees_it_right(reader: &Actor, all: &BTreeMap<String, Vec<Document>>) {
    let me = invariants::uuid(&reader.id);
    let places: Vec<&Document> =
        all["members"].iter().filter(|row| invariants::bytes(row, "user_id") == me).collect();
    let mut unread = BTreeMap::new();
    for place in places {
        let id = invariants::bytes(place, "conversation_id");
        let messages = invariants::messages(all, &id);
        reads(reader, &invariants::text(&id), &messages).await;
        let waits = invariants::unread(&messages, place);
        if waits > 0 {
            unread.insert(invariants::text(&id), waits);
        }
    }
    let shown = notified(reader).await;
    assert_eq!(shown, unread, "{}", reader.name);
    let groups = walk(reader, "/groups").await;
    let counted = all["users"].iter().find(|row| invariants::bytes(row, "_id") == me);
    let counted = counted.expect("them").get_i32("group_count").expect("a count");
    assert_eq!(i32::try_from(groups.len()), Ok(counted));
}

/// The newest page of a history is its last messages.
async fn reads(reader: &Actor, conversation: &str, messages: &[&Document]) {
    let path = format!("/conversations/{conversation}/messages?limit=100");
    let page = reader.get(&path).await.ok(200);
    let shown = page["items"].as_array().expect("items").iter().rev();
    let shown: Vec<&str> = shown.map(|item| item["message"].as_str().expect("text")).collect();
    let last = messages[messages.len().saturating_sub(100)..].iter();
    let last: Vec<&str> = last.map(|row| row.get_str("text").expect("text")).collect();
    assert_eq!(shown, last, "{path}");
}

/// The unread count of each conversation that a user is told of.
async fn notified(reader: &Actor) -> BTreeMap<String, u64> {
    let items = walk(reader, "/notifications").await;
    let told = items.iter().filter(|item| item["type"] == "message");
    told.map(|item| {
        let id = item["conversation_id"].as_str().expect("an id").to_owned();
        assert!(item["preview"].is_string(), "{item}");
        (id, item["unread_count"].as_u64().expect("a count"))
    })
    .collect()
}

async fn walk(reader: &Actor, list: &str) -> Vec<Value> {
    let (mut items, mut path) = (Vec::new(), format!("{list}?limit=100"));
    loop {
        let page = reader.get(&path).await.ok(200);
        items.extend(page["items"].as_array().expect("items").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { return items };
        path = format!("{list}?limit=100&cursor={cursor}");
    }
}

/// Its people can go on as if they had made it themselves.
async fn goes_on(app: &TestApp) {
    let (one, other) = (person(app, 0).await, person(app, 1).await);
    let before = one.get(&format!("/messages/{}?limit=1", other.id)).await.ok(200);
    let last = before["items"][0]["seq"].as_u64().unwrap_or(0);
    assert_eq!(one.send(&other, "and so on").await["seq"], last + 1);
    for group in walk(&one, "/groups").await {
        let id = group["id"].as_str().expect("an id");
        let sent = one.tell(id, "hello all").await;
        let read = json!({ "message_id": sent["id"] });
        let read = one.post(&format!("/conversations/{id}/read"), read).await.ok(200);
        assert_eq!(read["unread_count"], 0);
        let whole = one.get(&format!("/groups/{id}")).await.ok(200);
        assert_eq!(
            whole["members"].as_array().map(Vec::len),
            whole["member_count"].as_u64().map(|n| usize::try_from(n).expect("few"))
        );
    }
    let found = one.get("/users?q=an").await.ok(200);
    assert!(!found["items"].as_array().expect("items").is_empty());
}

/// Makes the population in runs that are dropped after one more block, with others half on their
/// way; says how many.
async fn cut_short(app: &TestApp) -> u32 {
    let mut kills = 0;
    loop {
        let (blocks, cut) = (AtomicU64::new(0), Notify::new());
        let run = populate(app, |progress| {
            if progress.done < progress.of && blocks.fetch_add(1, Ordering::SeqCst) == 1 {
                cut.notify_one();
            }
        });
        tokio::select! {
            made = run => {
                made.expect("a population");
                return kills;
            }
            () = cut.notified() => kills += 1,
        }
    }
}

#[tokio::test]
async fn one_that_was_cut_short_is_completed_and_again_changes_nothing() {
    let (app, other) = (TestApp::spawn().await, TestApp::spawn().await);
    assert!(cut_short(&app).await >= 2);
    let whole = everything(&app).await;
    invariants::hold(&whole);
    populate(&app, |progress| assert_eq!(progress.done, progress.of)).await.expect("all there");
    assert_eq!(everything(&app).await, whole);
    // Rows that are there are left alone, even where nobody remembers them.
    app.database()
        .await
        .collection::<Document>("meta")
        .update_one(doc! { "_id": "population" }, doc! { "$set": { "done": 0_i64 } })
        .await
        .expect("an update");
    populate(&app, |_| {}).await.expect("all there");
    assert_eq!(everything(&app).await, whole);
    populate(&other, |_| {}).await.expect("a population");
    assert_eq!(population(&other).await, population(&app).await);
}

#[tokio::test]
async fn a_database_has_one_population_and_keeps_names_that_are_taken() {
    let app = TestApp::spawn().await;
    let small = Population { users: 2, messages: 0, random_seed: 1 };
    let beside = Beside::OwnAccounts;
    app::populate(app.settings(), small, beside, |_| {}).await.expect("a population");
    let refused = populate(&app, |_| {}).await.expect_err("refused");
    assert!(refused.contains("--users 2 --messages 0 --random-seed 1"), "{refused}");
    let taken = TestApp::spawn().await;
    let input = json!({ "username": "somebody", "email": address(250), "password": "12345678" });
    taken.post("/signup", input).await.ok(201);
    let allowed = app::populate(taken.settings(), POPULATION, Beside::RealAccounts, |_| {});
    let refused = allowed.await.expect_err("refused").to_string();
    assert!(refused.contains("email_taken"), "{refused}");
}

#[tokio::test]
async fn a_database_with_accounts_is_refused_unless_told() {
    let app = TestApp::spawn().await;
    app.sign_up("somebody").await;
    let small = Population { users: 2, messages: 0, random_seed: 1 };
    let populate = |beside| app::populate(app.settings(), small, beside, |_| {});
    let refused = populate(Beside::OwnAccounts).await.expect_err("refused").to_string();
    assert!(refused.contains("--beside-real-accounts"), "{refused}");
    populate(Beside::RealAccounts).await.expect("a population");
    // Begun, it is gone on with.
    populate(Beside::OwnAccounts).await.expect("a population");
}

/// The fields of a document and their types, those of documents inside it included.
fn fields(document: &Document) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for (name, value) in document {
        fields.insert(format!("{name}: {:?}", value.element_type()));
        match value {
            Bson::Document(inside) => {
                fields.extend(self::fields(inside).iter().map(|field| format!("{name}.{field}")));
            }
            Bson::Binary(bytes) => {
                fields.insert(format!("{name}: {:?} {}", bytes.subtype, bytes.bytes.len()));
            }
            _ => {}
        }
    }
    fields
}

/// The fields of some collections' documents, by what sort of document it is: those that each
/// has, and those that one has.
fn sorts(
    all: &BTreeMap<String, Vec<Document>>,
    prefix: &str,
) -> BTreeMap<String, [BTreeSet<String>; 2]> {
    let mut sorts = BTreeMap::new();
    let rows = all.iter().filter(|(name, _)| name.starts_with(prefix)).flat_map(|(_, rows)| rows);
    for row in rows {
        let sort = ["kind", "type", "status"].iter().find_map(|field| row.get_str(field).ok());
        let fields = fields(row);
        let sort = sorts.entry(sort.unwrap_or_default().to_owned());
        let [always, ever]: &mut [BTreeSet<String>; 2] =
            sort.or_insert_with(|| [fields.clone(), BTreeSet::new()]);
        always.retain(|field| fields.contains(field));
        ever.extend(fields);
    }
    sorts
}

#[tokio::test]
async fn rows_have_the_fields_that_the_service_gives_them() {
    let (app, real) = (TestApp::spawn().await, TestApp::spawn().await);
    populate(&app, |_| {}).await.expect("a population");
    live(&real).await;
    let (made, lived) = (everything(&app).await, everything(&real).await);
    let names = ["users", "relations", "groups", "conversations", "members", "messages_", "sends"];
    for name in names.into_iter().chain(["notifications"]) {
        let (made, lived) = (sorts(&made, name), sorts(&lived, name));
        for (sort, [made_always, made_ever]) in made {
            let [always, ever] = &lived[&sort];
            let strange: Vec<_> = made_ever.difference(ever).collect();
            // Of the people made up nobody has signed in yet.
            let signed_in =
                |field: &&String| field.starts_with("sign_ins") || field.starts_with("networks");
            let missing = always.difference(&made_always).filter(|field| !signed_in(field));
            let missing: Vec<_> = missing.collect();
            assert!(
                strange.is_empty() && missing.is_empty(),
                "{name} {sort}: {strange:?} {missing:?}"
            );
        }
    }
}

/// A bit of everything that a population has.
async fn live(app: &TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    ada.befriend(&bob).await;
    ada.post("/friends/add", json!({ "friend_user_id": eve.id })).await.ok(201);
    ada.send(&ada, "to myself").await;
    let first = ada.send(&bob, "hello").await;
    ada.send(&eve, "one-sided").await;
    let answer = json!({ "recipient_user_id": ada.id, "message": "hi", "reply_to": first["id"] });
    let answer = bob.post("/messages", answer).await.ok(201);
    let read = json!({ "message_id": answer["id"] });
    let path =
        format!("/conversations/{}/read", answer["conversation_id"].as_str().expect("an id"));
    ada.post(&path, read).await.ok(200);
    let group = ada.group("all", std::slice::from_ref(&bob)).await;
    ada.group("silent", &[bob.clone(), eve.clone()]).await;
    ada.tell(&group, "hello all").await;
    let alone = ada.group("alone", &[]).await;
    ada.tell(&alone, "hello me").await;
    let hello = json!({ "message_id": bob.tell(&group, "hello").await["id"] });
    ada.post(&format!("/conversations/{group}/read"), hello).await.ok(200);
    ada.post(&format!("/groups/{group}/add"), json!({ "user_id": eve.id })).await.ok(201);
}
