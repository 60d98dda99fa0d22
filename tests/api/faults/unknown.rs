//! Commits whose outcome nobody knows.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use natter::config::Secret;
use serde_json::{Value, json};

use super::persist;
use crate::search::settled;
use crate::support::audit::Audit;
use crate::support::instance::Instance;
use crate::support::servers::Server;
use crate::support::{Actor, TestApp};

fn named(to: &Actor, name: &str) -> Value {
    json!({"recipient_user_id": to.id, "message": name, "client_message_id": name})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_answer_the_whole_batch_is_found() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    // The first message goes out alone, those that wait meanwhile together.
    let instance = Instance::start(&app, "transaction.committed=3*return(lose)").await;
    let there = instance.seen_by(&alice);
    let sendings = (0..40).map(|n| there.post("/messages", named(&bob, &format!("m{}", n / 2))));
    let answers = join_all(sendings).await;
    let mut replays = 0;
    for pair in answers.chunks(2) {
        let [one, other] = [pair[0].clone().ok(201), pair[1].clone().ok(201)];
        assert_eq!(one["id"], other["id"]);
        replays += pair.iter().filter(|it| it.header("idempotent-replayed") == "true").count();
    }
    assert_eq!(replays, 20, "one of each two is new");
    let mut other = named(&bob, "m7");
    other["message"] = json!("of another content");
    alice.post("/messages", other).await.problem(422, "idempotency_key_reused");
    let audit = Audit::of(&app.database().await).await;
    audit.is_what_they_see(&bob).await;
    assert_eq!(audit.unread(bob.id.parse().expect("an id")).into_values().sum::<i64>(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_message_is_found_after_a_lost_answer_too() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let instance = Instance::start(&app, "batch.written=2*return(lose)").await;
    let there = instance.seen_by(&alice);
    let first = there.post("/messages", named(&bob, "hi")).await.ok(201);
    let again = there.post("/messages", named(&bob, "hi")).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.ok(201)["id"], first["id"]);
    Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_never_asked_for_is_no_message() {
    for point in ["transaction.commit", "apply.conversations"] {
        let app = TestApp::spawn().await;
        let (alice, bob) = (app.user("alice").await, app.user("bob").await);
        let instance = Instance::start(&app, &format!("{point}=1*return(lose)")).await;
        let there = instance.seen_by(&alice);
        let refused = there.post("/messages", named(&bob, "hi")).await;
        assert_ne!(refused.header("retry-after"), "", "{point}");
        refused.problem(503, "unavailable");
        Audit::of(&app.database().await).await.holds(&[]);
        assert_eq!(bob.get(&format!("/messages/{}", alice.id)).await.ok(200)["items"], json!([]));
        let answer = persist(&there, &named(&bob, "hi")).await;
        assert_eq!((answer.header("idempotent-replayed"), &answer.json()["seq"]), ("", &json!(1)));
        Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
    }
}

/// Makes the server fail so many of natter's commits in this way.
async fn fail_commits(app: &TestApp, times: i32, how: Document) {
    let mut data = doc! { "failCommands": ["commitTransaction"], "appName": "natter" };
    data.extend(how);
    let command =
        doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
    let admin = app.database().await.client().database("admin");
    admin.run_command(command).await.expect("a mongod with test commands");
}

async fn with_mongod() -> (Server, TestApp, Actor, Actor) {
    let mongod = Server::mongod().await;
    let uri = mongod.url("mongodb");
    let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri)).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    (mongod, app, alice, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_asked_for_until_its_outcome_is_known() {
    let (_mongod, app, alice, bob) = with_mongod().await;
    let concern = doc! { "code": 64, "errmsg": "waiting for replication timed out" };
    let ways = [
        doc! { "closeConnection": true },
        doc! { "writeConcernError": concern },
        doc! { "errorCode": 91, "errorLabels": ["UnknownTransactionCommitResult"] },
        // Not committed, and said so: everything is done again.
        doc! { "errorCode": 251, "errorLabels": ["TransientTransactionError"] },
    ];
    let mut sent = 0;
    for how in ways {
        for times in [1, 2] {
            fail_commits(&app, times, how.clone()).await;
            let name = format!("m{sent}");
            let answer = persist(&alice, &named(&bob, &name)).await;
            sent += 1;
            assert_eq!(answer.ok(201)["seq"], sent, "{how}");
            let again = alice.post("/messages", named(&bob, &name)).await;
            let replayed = again.header("idempotent-replayed");
            assert_eq!((again.status, replayed), (201, "true"), "{how}: {}", again.text());
        }
    }
    Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_lands_after_its_deadline_is_not_doubled() {
    let (_mongod, app, alice, bob) = with_mongod().await;
    alice.send(&bob, "before").await;
    // Its words are indexed by a commit of its own, which is not the one that is to be late.
    settled(&app).await;
    let late = doc! { "blockConnection": true, "blockTimeMS": 5500 };
    fail_commits(&app, 1, late).await;
    let answer = alice.post("/messages", named(&bob, "late")).await;
    answer.problem(503, "unavailable");
    let taken = persist(&alice, &named(&bob, "late")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = persist(&alice, &named(&bob, "late")).await;
    assert_eq!((&taken.json()["seq"], &taken.json()["id"]), (&json!(2), &again.json()["id"]));
    alice.send(&bob, "after").await;
    let audit = Audit::of(&app.database().await).await;
    audit.is_what_they_see(&bob).await;
    assert_eq!(audit.unread(bob.id.parse().expect("an id")).into_values().sum::<i64>(), 3);
}
