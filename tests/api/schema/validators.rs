//! Validators that changed are applied, by definitions that are not themselves out of date.

use mongodb::bson::{Binary, Bson, Document, doc};
use natter::internals::domain::{Clock, random_bytes};
use natter::internals::store::schema::{self, Applied, By, Step};
use serde_json::json;

use super::{SHARDS, applied, id};
use crate::support::{Scratch, TestApp};

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

/// What the lines say before the values.
fn heads(steps: &[Step]) -> Vec<String> {
    lines(steps).iter().map(|line| line.split(": is").next().unwrap_or_default().into()).collect()
}

/// A definition of `sends` as it may once have been: takes no row of today.
async fn outdate(scratch: &Scratch) {
    let older = doc! {
        "collMod": "sends",
        "validator": { "$jsonSchema": { "required": ["total"] } },
        "validationLevel": "moderate",
    };
    scratch.database().run_command(older).await.expect("changed");
}

async fn send(scratch: &Scratch) -> Result<(), mongodb::error::Error> {
    let row = doc! { "_id": id(&random_bytes::<40>()), "n": 1_i64 };
    scratch.database().collection::<Document>("sends").insert_one(row).await.map(|_| ())
}

/// Pretends that these definitions were applied last, after these others.
async fn pretend(scratch: &Scratch, applied: &Binary, superseded: &[Binary]) {
    let superseded: Vec<Bson> = superseded.iter().cloned().map(Bson::from).collect();
    let change = doc! { "$set": { "applied": applied.clone(), "superseded": superseded } };
    let meta = scratch.database().collection::<Document>("meta");
    meta.update_one(doc! { "_id": "schema" }, change).await.expect("changed");
}

#[tokio::test]
async fn an_older_validator_is_replaced_and_then_nothing_is_to_do() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    outdate(&scratch).await;
    send(&scratch).await.expect_err("refused by the older validator");

    let planned = schema::plan(scratch.store(), SHARDS).await.expect("a plan");
    assert_eq!(heads(&planned), ["change validator of sends", "change validationLevel of sends"]);
    assert_eq!(
        lines(&planned)[1],
        r#"change validationLevel of sends: is "moderate", defined as "strict""#
    );
    assert_eq!(applied(scratch.store()).await, Applied { made: planned, reported: Vec::new() });
    send(&scratch).await.expect("taken by the new one");
    let wrong = doc! { "_id": id(&random_bytes::<40>()), "total": 1 };
    let sends = scratch.database().collection::<Document>("sends");
    sends.insert_one(wrong).await.expect_err("refused by the new one");
    assert_eq!(applied(scratch.store()).await, Applied::default());
    assert_eq!(schema::plan(scratch.store(), SHARDS).await.expect("a plan"), Vec::new());
}

#[tokio::test]
async fn an_instance_that_starts_takes_what_the_older_validator_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let older = doc! { "collMod": "groups", "validator": { "motto": { "$type": "string" } } };
    app.database().await.run_command(older).await.expect("changed");
    let group = json!({"group_name": "choir", "members": []});
    assert_eq!(alice.post("/groups", group.clone()).await.status, 500);

    let newer = app.second_instance().await;
    newer.seen_by(&alice).post("/groups", group.clone()).await.ok(201);
    alice.post("/groups", group).await.ok(201);
}

#[tokio::test]
async fn what_cannot_change_is_still_reported() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let database = scratch.database();
    database.collection::<Document>("sends").drop().await.expect("dropped");
    database.run_command(doc! { "create": "sends" }).await.expect("made");
    let outcome = applied(scratch.store()).await;
    assert_eq!(heads(&outcome.made), ["change validator of sends"]);
    let [reported] = &lines(&outcome.reported)[..] else { panic!("{outcome:?}") };
    let start = "leave alone clusteredIndex of sends, which differs (change it by hand): is absent";
    assert!(reported.starts_with(start), "{reported}");
}

#[tokio::test]
async fn an_old_instance_does_not_set_back_what_newer_ones_changed() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let own = scratch.meta().await.get("applied").cloned();
    let Some(Bson::Binary(own)) = own else { panic!("{own:?}") };
    let newer = id(&random_bytes::<32>());
    pretend(&scratch, &newer, std::slice::from_ref(&own)).await;
    outdate(&scratch).await;
    let users = scratch.database().collection::<Document>("users");
    users.drop_index("email_key").await.expect("dropped");

    let outcome = applied(scratch.store()).await;
    assert_eq!(lines(&outcome.made), ["create index email_key of users"]);
    let left = |option: &str| {
        format!(
            "leave alone {option} of sends, which newer definitions have set (natter indexes \
             apply sets it back)"
        )
    };
    assert_eq!(lines(&outcome.reported), [left("validator"), left("validationLevel")]);
    assert_eq!(scratch.meta().await.get_binary_generic("applied").expect("bytes"), &newer.bytes);

    let clock = Clock::manual();
    let outcome = schema::apply(scratch.store(), SHARDS, &clock, By::Operator).await;
    let outcome = outcome.expect("a schema");
    assert_eq!(
        heads(&outcome.made),
        ["change validator of sends", "change validationLevel of sends"]
    );
    let meta = scratch.meta().await;
    assert_eq!(meta.get("applied"), Some(&Bson::from(own)));
    assert_eq!(meta.get("superseded"), Some(&Bson::from(vec![Bson::from(newer)])));
}

#[tokio::test]
async fn of_instances_that_start_together_one_changes_validators() {
    let scratch = Scratch::new().await;
    applied(scratch.store()).await;
    let before = id(&random_bytes::<32>());
    pretend(&scratch, &before, &[]).await;
    outdate(&scratch).await;
    let mut instances = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = scratch.another_store().await;
        instances.spawn(async move { applied(&store).await.made.len() });
    }
    let mut made = instances.join_all().await;
    made.sort_unstable();
    assert_eq!(made, [0, 0, 0, 0, 0, 0, 0, 2]);
    send(&scratch).await.expect("taken");
    let superseded = scratch.meta().await.get("superseded").cloned();
    assert_eq!(superseded, Some(Bson::from(vec![Bson::from(before)])));
}
