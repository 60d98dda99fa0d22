//! Names that were given up, and names that nobody may have.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;

use crate::support::{Actor, Answer, TestApp};

const MONTH: Duration = Duration::from_hours(30 * 24);

async fn rename(actor: &Actor, name: &str) -> Answer {
    actor.put("/profile", json!({"username": name})).await
}

async fn sign_up(app: &TestApp, name: &str, n: usize) -> Answer {
    let email = format!("new{n}@example.com");
    app.post("/signup", json!({"username": name, "email": email, "password": "correct horse"}))
        .await
}

async fn later(app: &TestApp, actor: &Actor, by: Duration) -> Actor {
    app.advance(by);
    app.login(&actor.email, &actor.password).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_was_given_up_is_nobody_elses_for_thirty_days_and_then_one_persons() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let rivals = join_all((0..25).map(async |n| app.user(&format!("rival{n}")).await)).await;
    // While it is given up, too: it is never anyone else's.
    let race = async |round: usize| {
        let renames = rivals.iter().enumerate().map(|(n, rival)| {
            let rival = if n % 2 == 0 { rival.clone() } else { other.seen_by(rival) };
            async move { rename(&rival, "Ada").await }
        });
        let signups = (0..25).map(|n| sign_up(&app, "ADA", 100 * round + n));
        let (renames, signups) = tokio::join!(join_all(renames), join_all(signups));
        renames.into_iter().chain(signups).collect::<Vec<Answer>>()
    };
    let (given_up, refused) = tokio::join!(rename(&ada, "countess"), race(0));
    given_up.ok(200);
    for answer in refused.into_iter().chain(race(1).await) {
        answer.problem(409, "username_taken");
    }
    // Its former owner may have it back; the other name is then held instead.
    rename(&ada, "ADA").await.ok(200);
    sign_up(&app, "countess", 300).await.problem(409, "username_taken");
    rename(&ada, "countess").await.ok(200);

    let ada = later(&app, &ada, MONTH.saturating_sub(Duration::from_millis(1))).await;
    sign_up(&app, "ada", 301).await.problem(409, "username_taken");
    app.advance(Duration::from_millis(1));
    let logins = rivals.iter().map(|rival| app.login(&rival.email, &rival.password));
    let rivals = join_all(logins).await;
    let renames = rivals.iter().enumerate().map(|(n, rival)| {
        let rival = if n % 2 == 0 { rival.clone() } else { other.seen_by(rival) };
        async move { rename(&rival, "ada").await }
    });
    let signups = (0..25).map(|n| sign_up(&app, "ada", 400 + n));
    let (renames, signups) = tokio::join!(join_all(renames), join_all(signups));
    let answers: Vec<Answer> = renames.into_iter().chain(signups).collect();
    let won = answers.iter().filter(|answer| [200, 201].contains(&answer.status)).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(|answer| answer.status >= 400) {
        answer.problem(409, "username_taken");
    }
    rename(&ada, "ada").await.problem(409, "username_taken");
}

#[tokio::test]
async fn other_letters_of_the_same_name_give_nothing_up() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    rename(&ada, "Ada").await.ok(200);
    let held = app.database().await.collection::<Document>("held_names");
    assert_eq!(held.count_documents(doc! {}).await.expect("a count"), 0);
    // What is refused gives nothing up either.
    let bob = app.user("bob").await;
    rename(&bob, "ada").await.problem(409, "username_taken");
    assert_eq!(held.count_documents(doc! {}).await.expect("a count"), 0);
}

#[tokio::test]
async fn a_held_name_outlives_its_owners_account() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    rename(&ada, "countess").await.ok(200);
    let goodbye = ada.request("DELETE", "/profile").json(&json!({"password": ada.password}));
    Answer::of(goodbye).await.ok(204);
    for (n, name) in ["ada", "countess"].into_iter().enumerate() {
        sign_up(&app, name, n).await.problem(409, "username_taken");
    }
    app.advance(MONTH);
    for (n, name) in ["ada", "countess"].into_iter().enumerate() {
        sign_up(&app, name, n).await.ok(201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_holds_more_than_thirty_names() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let there = other.seen_by(&ada);
    let renames = (0..50).map(|n| {
        let by = if n % 2 == 0 { &ada } else { &there };
        async move { rename(by, &format!("ada-{n}")).await }
    });
    let answers = join_all(renames).await;
    let renamed = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.header("retry-after"), MONTH.as_secs().to_string());
        answer.problem(429, "rate_limited");
    }
    assert_eq!(renamed, 30);
    let held = app.database().await.collection::<Document>("held_names");
    assert_eq!(held.count_documents(doc! {}).await.expect("a count"), 30);
    // One of one's own frees a place.
    rename(&ada, "ada").await.ok(200);
    rename(&ada, "ada-new").await.problem(429, "rate_limited");
    let ada = later(&app, &ada, MONTH).await;
    rename(&ada, "ada-new").await.ok(200);
}

#[tokio::test]
async fn names_that_pass_for_the_service_are_reserved() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for (n, name) in ["admin", "system.bot", "natter-support", "4dm1n", "a.d.m.i.n", "rnoderator"]
        .into_iter()
        .enumerate()
    {
        let problem = sign_up(&app, name, n).await.invalid(&["username"]);
        assert_eq!(problem["errors"][0]["code"], "reserved");
        let problem = rename(&ada, name).await.invalid(&["username"]);
        assert_eq!(problem["errors"][0]["code"], "reserved");
    }
    for name in ["adminton", "badminton", "systematic", "user1"] {
        rename(&ada, name).await.ok(200);
    }
}
