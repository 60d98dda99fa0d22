//! Tokens of ended sessions: how little they cost, and that only those are refused.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use natter::config::Quota;
use serde_json::{Value, json};

use crate::support::replica_set::ReplicaSet;
use crate::support::{Actor, TestApp};

/// Switches the profiler of a test's database.
async fn profile(app: &TestApp, level: i32) {
    let database = app.database().await;
    database.run_command(doc! { "profile": level }).await.expect("the profiler is switched");
}

/// Reads of sessions while the profiler was on: all of them, and the linearizable ones.
async fn reads(app: &TestApp) -> (usize, usize) {
    let rows = app.database().await.collection::<Document>("system.profile");
    let found = rows.find(doc! { "command.find": "sessions" }).await.expect("a cursor");
    let found: Vec<Document> = found.try_collect().await.expect("all of it");
    let linearizable = found.iter().filter(|row| row.to_string().contains("linearizable"));
    (found.len(), linearizable.count())
}

/// Someone whose session has ended, elsewhere.
async fn signed_out(app: &TestApp, name: &str) -> Actor {
    let person = app.user(name).await;
    let elsewhere = app.second_instance().await;
    elsewhere.seen_by(&person).post("/logout", Value::Null).await.ok(204);
    person
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_with_one_revoked_token_cost_a_few_commands() {
    let app = TestApp::spawn().await;
    let mallory = signed_out(&app, "mallory").await;
    let second = app.second_instance().await;
    let elsewhere = second.seen_by(&mallory);
    profile(&app, 2).await;
    for _ in 0..20 {
        let here = (0..25).map(|_| mallory.get("/profile"));
        let there = (0..25).map(|_| elsewhere.get("/profile"));
        let (here, there) = tokio::join!(join_all(here), join_all(there));
        for answer in here.into_iter().chain(there) {
            answer.problem(401, "session_revoked");
        }
    }
    profile(&app, 0).await;
    let (all, linearizable) = reads(&app).await;
    // One look-up an instance; one more where the first took longer than others wait for.
    assert!((2..=8).contains(&all) && linearizable <= 4, "{all} reads, {linearizable} of them");
}

#[tokio::test]
async fn only_the_first_of_many_revoked_tokens_costs_a_linearizable_read() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut devices = Vec::new();
    for _ in 0..10 {
        devices.push(app.login(&ada.email, &ada.password).await);
    }
    let elsewhere = app.second_instance().await;
    elsewhere.seen_by(&ada).delete("/sessions").await.ok(204);
    app.advance(Duration::from_mins(2));
    profile(&app, 2).await;
    for device in &devices {
        device.get("/profile").await.problem(401, "session_revoked");
    }
    profile(&app, 0).await;
    assert_eq!(reads(&app).await, (11, 1));
    // A session that began since is looked for with care.
    let new = signed_out(&app, "bob").await;
    profile(&app, 2).await;
    new.get("/profile").await.problem(401, "session_revoked");
    profile(&app, 0).await;
    assert_eq!(reads(&app).await.1, 2);
}

/// A caller that hangs up, or a session that is not there, takes nobody else along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_fail_nobody() {
    let app = TestApp::spawn().await;
    for round in 0..10 {
        let ada = app.user(&format!("ada{round}")).await;
        let second = app.second_instance().await;
        let ada = second.seen_by(&ada);
        let calls = (0..40_u64).map(|n| {
            let ada = ada.clone();
            async move {
                let limit = Duration::from_micros(if n % 2 == 0 { 300 * n } else { 30_000_000 });
                tokio::time::timeout(limit, ada.request("GET", "/profile").send()).await
            }
        });
        for (n, outcome) in join_all(calls).await.into_iter().enumerate() {
            match outcome {
                Ok(answer) => assert_eq!(answer.expect("an answer").status(), 200),
                Err(_) => assert_eq!(n % 2, 0, "did not answer"),
            }
        }
    }
}

/// A spent address asks the store of nothing, and a session that stands goes on from it.
#[tokio::test]
async fn a_spent_address_reaches_no_store_and_locks_out_nobody() {
    let quota = Quota { limit: NonZeroU32::new(5).expect("five"), window: Duration::from_hours(1) };
    let app = TestApp::with(|settings| settings.limits.read = Some(quota)).await;
    let mut ended = Vec::new();
    for n in 0..8 {
        ended.push(signed_out(&app, &format!("user{n}")).await);
    }
    let ada = app.user("ada").await;
    for device in &ended[..5] {
        device.get("/profile").await.problem(401, "session_revoked");
    }
    ended[0].get("/profile").await.problem(429, "rate_limited");
    for n in 0..400 {
        let forged = app.request("GET", "/profile").bearer_auth(n);
        crate::support::Answer::of(forged).await.problem(429, "rate_limited");
    }
    profile(&app, 2).await;
    for _ in 0..20 {
        for device in &ended {
            let answer = device.get("/profile").await;
            assert_eq!(answer.header("retry-after"), "720");
            answer.problem(429, "rate_limited");
        }
    }
    profile(&app, 0).await;
    assert_eq!(reads(&app).await, (0, 0));
    app.advance(Duration::from_secs(1));
    ada.get("/profile").await.ok(200);
}

/// Sessions that begin right before and after an election stand, whoever asks of them first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_that_stands_is_refused_after_an_election() {
    let (mut set, app) = ReplicaSet::with_app().await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    // A confirmation that an election must void.
    signed_out(&app, "mallory").await.get("/profile").await.problem(401, "session_revoked");
    for is_killed in [true, false] {
        app.advance(Duration::from_mins(2));
        let mut devices = Vec::new();
        for _ in 0..10 {
            devices.push(app.login(&ada.email, &ada.password).await);
        }
        let old = set.primary().await;
        if is_killed {
            set.members[old].kill();
        } else {
            set.members[old].stop().await;
        }
        set.primary_besides(old).await;
        for device in &devices {
            stands(device).await;
            stands(&other.seen_by(device)).await;
        }
        stands(&other.seen_by(&login_when_up(&app, &ada).await)).await;
        set.members[old].start().await;
        set.whole().await;
    }
}

/// Asks until the store answers: never that the session has ended.
async fn stands(device: &Actor) {
    loop {
        let answer = device.get("/profile").await;
        if answer.status == 200 {
            return;
        }
        answer.problem(503, "unavailable");
    }
}

async fn login_when_up(app: &TestApp, actor: &Actor) -> Actor {
    let input = json!({"email": actor.email, "password": actor.password});
    loop {
        let answer = app.post("/login", input.clone()).await;
        if answer.status == 200 {
            return Actor::new(app, &actor.email, &actor.password, &answer.json());
        }
        answer.problem(503, "unavailable");
    }
}
