//! Collections and indexes come from `indexes/`, made by exactly one of many.

mod validators;

use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::internals::domain::{Clock, random_bytes};
use natter::internals::store::Store;
use natter::internals::store::schema::{self, Applied, By, SchemaError, Step};

use crate::support::Scratch;

const SHARDS: u32 = 4;

fn is_complete(steps: &[Step]) -> bool {
    !steps.iter().any(Step::is_due)
}

async fn applied(store: &Store) -> Applied {
    schema::apply(store, SHARDS, &Clock::manual(), By::Start).await.expect("a schema")
}

/// A key as the store has it.
fn id(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

async fn index_names(scratch: &Scratch, collection: &str) -> Vec<String> {
    scratch.database().collection::<Document>(collection).list_index_names().await.expect("names")
}

#[tokio::test]
async fn every_collection_and_index_is_made_once() {
    let scratch = Scratch::new().await;
    let mut planned = schema::plan(scratch.store(), SHARDS).await.expect("a plan");
    assert!(planned.iter().all(Step::is_due));
    // Where the lease is kept, so that it is there before the work begins.
    planned.retain(|step| step.to_string() != "create collection meta");
    let first = applied(scratch.store()).await;
    assert_eq!(first, Applied { made: planned, reported: Vec::new() });
    assert_eq!(applied(scratch.store()).await, Applied::default());
    assert_eq!(schema::plan(scratch.store(), SHARDS).await.expect("a plan"), Vec::new());

    let names = scratch.database().list_collection_names().await.expect("names");
    assert_eq!(names.len(), schema::count(SHARDS), "{names:?}");
    assert_eq!(index_names(&scratch, "users").await.len(), 7);
    assert_eq!(index_names(&scratch, "messages_3").await, ["_id_"]);
}

#[tokio::test]
async fn what_is_missing_is_made_again() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let users = scratch.database().collection::<Document>("users");
    users.drop_index("email_key").await.expect("dropped");
    scratch.database().collection::<Document>("messages_2").drop().await.expect("dropped");
    let made = applied(scratch.store()).await.made;
    let lines: Vec<String> = made.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["create collection messages_2", "create index email_key of users"]);
    assert!(is_complete(&schema::plan(scratch.store(), SHARDS).await.expect("a plan")));
}

#[tokio::test]
async fn changes_by_others_are_reported_and_kept() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let database = scratch.database();
    let run = async |command| database.run_command(command).await.expect("done");
    run(doc! { "dropIndexes": "users", "index": ["email_key", "username_key"] }).await;
    run(doc! { "createIndexes": "users", "indexes": [
        { "name": "email_key", "key": { "email_key": 1.0 } },
        { "name": "handle", "key": { "username_key": 1 }, "unique": true },
        { "name": "by_hand", "key": { "picture": 1 } },
    ] })
    .await;
    run(doc! { "create": "scribbles" }).await;

    let outcome = applied(scratch.store()).await;
    assert_eq!(outcome.made, Vec::new());
    let lines: Vec<String> = outcome.reported.iter().map(ToString::to_string).collect();
    let starts = [
        "leave alone index handle of users, which differs (drop it by hand and it is made anew)",
        "leave alone index email_key of users, which differs (drop it by hand and it is made anew)",
        "leave alone index by_hand of users, which is not defined",
        "leave alone collection scribbles, which is not defined",
    ];
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    let kept = index_names(&scratch, "users").await;
    for name in ["email_key", "handle", "by_hand"] {
        assert!(kept.iter().any(|kept| kept == name), "{kept:?}");
    }
    assert_eq!(schema::plan(scratch.store(), SHARDS).await.expect("a plan"), outcome.reported);
}

#[tokio::test]
async fn definitions_made_by_the_shell_are_the_same() {
    let scratch = Scratch::new().await;
    let index =
        doc! { "name": "user_id", "key": { "user_id": 1.0, "created_at": -1_i64, "_id": -1.0 } };
    let create = doc! { "createIndexes": "notifications", "indexes": [index] };
    let options = doc! { "collMod": "notifications" };
    scratch.database().run_command(create).await.expect("done");
    scratch.database().run_command(options).await.expect("done");
    let outcome = applied(scratch.store()).await;
    let indexes = |step: &&Step| step.to_string().contains("user_id of notifications");
    assert_eq!(outcome.made.iter().chain(&outcome.reported).find(indexes), None);
}

#[tokio::test]
async fn of_eight_instances_one_does_the_work() {
    let scratch = Scratch::new().await;
    let clock = Clock::manual();
    let mut instances = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, clock) = (scratch.another_store().await, clock.clone());
        instances.spawn(async move {
            let applied = schema::apply(&store, SHARDS, &clock, By::Start).await.expect("a schema");
            let left = schema::plan(&store, SHARDS).await.expect("a plan");
            (applied.made.len(), left)
        });
    }
    let outcomes = instances.join_all().await;
    let workers: Vec<usize> = outcomes.iter().map(|(made, _)| *made).filter(|n| *n > 0).collect();
    assert_eq!(workers.len(), 1, "{outcomes:?}");
    for (_, left) in outcomes {
        assert_eq!(left, Vec::new());
    }
}

#[tokio::test]
async fn the_work_of_an_instance_that_died_is_taken_over() {
    let scratch = Scratch::new().await;
    let clock = Clock::manual();
    let until = mongodb::bson::DateTime::from_millis(clock.now().millis() + 30_000);
    let meta = scratch.database().collection("meta");
    meta.insert_one(doc! { "_id": "schema", "fence": 7_i64, "shards": SHARDS, "until": until })
        .await
        .expect("a lease");
    let mut waiting = tokio::spawn({
        let (store, clock) = (scratch.another_store().await, clock.clone());
        async move { schema::apply(&store, SHARDS, &clock, By::Start).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(400), &mut waiting).await;
    assert!(early.is_err(), "the lease still stands");
    clock.advance(Duration::from_secs(30));
    let outcome = waiting.await.expect("no panic").expect("a schema");
    assert!(!outcome.made.is_empty());
    let row: Document = scratch.meta().await;
    assert_eq!(row.get_i64("fence").expect("a fence"), 8);
    assert!(!row.contains_key("until"));
}

#[tokio::test]
async fn another_number_of_shards_stops_the_start() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    for outcome in [
        schema::apply(scratch.store(), 8, &Clock::manual(), By::Start).await.map(|_| ()),
        schema::plan(scratch.store(), 8).await.map(|_| ()),
    ] {
        let error = outcome.expect_err("refused");
        assert!(matches!(error, SchemaError::Shards { wanted: 8, stored: 4, .. }));
        let line = error.to_string();
        assert!(line.starts_with("messages.shards is 8, but database natter-test-"), "{line}");
        assert!(!line.contains('\n'));
    }
    let names = scratch.database().list_collection_names().await.expect("names");
    assert!(!names.iter().any(|name| name == "messages_4"));
}

#[tokio::test]
async fn instances_that_disagree_about_shards_do_not_both_start() {
    let scratch = Scratch::new().await;
    let clock = Clock::manual();
    let (one, other) = tokio::join!(
        schema::apply(scratch.store(), 2, &clock, By::Start),
        schema::apply(scratch.store(), 3, &clock, By::Start),
    );
    let (shards, refused) = match (one, other) {
        (Ok(_), Err(error)) => (2, error),
        (Err(error), Ok(_)) => (3, error),
        outcomes => panic!("{outcomes:?}"),
    };
    assert!(matches!(refused, SchemaError::Shards { stored, .. } if stored == shards));
    assert_eq!(schema::plan(scratch.store(), shards).await.expect("a plan"), Vec::new());
}

#[tokio::test]
async fn data_that_stands_against_an_index_is_named() {
    let scratch = Scratch::new().await;
    let chunks = scratch.database().collection("fs.chunks");
    let twice = [doc! { "files_id": 1, "n": 0 }, doc! { "files_id": 1, "n": 0 }];
    chunks.insert_many(twice).await.expect("inserted");
    let error = schema::apply(scratch.store(), SHARDS, &Clock::manual(), By::Start)
        .await
        .expect_err("refused");
    let line = error.to_string();
    let start = "MongoDB refuses to make index files_id_1_n_1 of fs.chunks: ";
    assert!(line.starts_with(start), "{line}");
    // The lease is given back: the next one need not wait for its end.
    chunks.delete_many(doc! {}).await.expect("deleted");
    assert!(!applied(scratch.store()).await.made.is_empty());
}

#[tokio::test]
async fn documents_of_another_shape_are_refused() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let sends = scratch.database().collection::<Document>("sends");
    let insert =
        async |row: Document| sends.insert_one(row).await.map_err(|error| error.to_string());
    let key: [u8; 40] = random_bytes();
    assert!(insert(doc! { "_id": id(&key), "n": 1_i64 }).await.is_ok());
    for bad in [
        doc! { "_id": id(&key[..16]), "n": 1 },
        doc! { "_id": "text", "n": 1 },
        doc! { "_id": id(&random_bytes::<40>()), "n": "1" },
        doc! { "_id": id(&random_bytes::<40>()) },
    ] {
        let error = insert(bad.clone()).await.expect_err("refused");
        assert!(error.contains("Document failed validation"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn names_and_addresses_are_found_by_their_keys() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    for (filter, index) in [
        (doc! { "username_key": "ada" }, "username_key"),
        (doc! { "username_key": { "$gte": "ad", "$lt": "ae" } }, "username_key"),
        (doc! { "email_key": "ada@example.com" }, "email_key"),
    ] {
        let find = doc! { "find": "users", "filter": filter.clone() };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let plan = scratch.database().run_command(explain).await.expect("a plan").to_string();
        assert!(plan.contains(&format!("\"indexName\": \"{index}\"")), "{filter}: {plan}");
    }
}
