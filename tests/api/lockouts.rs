//! Wrong passwords: five in a row, then pauses that grow.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;

use crate::support::{Actor, Answer, TestApp};

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

/// Expects a lockout, and gives its `Retry-After`.
#[track_caller]
fn locked(answer: Answer) -> u64 {
    let wait = answer.header("retry-after").parse().expect("seconds");
    answer.problem(429, "account_locked");
    wait
}

async fn wrong(app: &TestApp, email: &str, times: usize) {
    for _ in 0..times {
        login(app, email, "wrong password").await.problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn five_wrong_passwords_in_a_row_lock_whether_the_address_is_known_or_not() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    for email in [ada.email.as_str(), "nobody@example.com"] {
        wrong(&app, email, 3).await;
        wrong(&second, &email.to_uppercase(), 2).await;
        for instance in [&app, &second] {
            assert_eq!(locked(login(instance, email, "wrong password").await), 15);
            // Not even the right one is tried now.
            assert_eq!(locked(login(instance, email, &ada.password).await), 15);
        }
    }
    // Other addresses are not concerned, and what is signed in stays so.
    wrong(&app, "another@example.com", 1).await;
    ada.get("/profile").await.ok(200);
    let refresh = json!({"refresh_token": ada.refresh_token});
    app.post("/token/refresh", refresh).await.ok(200);
}

#[tokio::test]
async fn pauses_grow_to_a_quarter_of_an_hour_and_a_right_password_ends_them() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for email in [ada.email.as_str(), "nobody@example.com"] {
        wrong(&app, email, 5).await;
        for (pause, next) in [(15, 30), (30, 60), (60, 120), (120, 240), (240, 480), (480, 900)] {
            app.advance(Duration::from_millis(pause * 1000 - 1));
            assert_eq!(locked(login(&app, email, "wrong password").await), 1);
            app.advance(Duration::from_millis(1));
            assert_eq!(locked(login(&app, email, "wrong password").await), next);
        }
        app.advance(Duration::from_mins(15));
        assert_eq!(locked(login(&app, email, "wrong password").await), 900);
    }
    app.advance(Duration::from_mins(15));
    app.login(&ada.email, &ada.password).await;
    // All five are there again.
    wrong(&app, &ada.email, 4).await;
    app.login(&ada.email, &ada.password).await;
    wrong(&app, &ada.email, 5).await;
    assert_eq!(locked(login(&app, &ada.email, &ada.password).await), 15);
}

#[tokio::test]
async fn wrong_passwords_are_forgotten_after_a_day() {
    let app = TestApp::spawn().await;
    wrong(&app, "nobody@example.com", 4).await;
    app.advance(Duration::from_hours(24));
    wrong(&app, "nobody@example.com", 5).await;
    locked(login(&app, "nobody@example.com", "wrong password").await);
    app.advance(Duration::from_hours(24));
    wrong(&app, "nobody@example.com", 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_wrong_guesses_at_once_exactly_five_are_answered() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    for email in [ada.email.as_str(), "nobody@example.com"] {
        let guesses = (0..50).map(|n| {
            let instance = if n % 2 == 0 { &app } else { &second };
            async move { login(instance, email, &format!("wrong password {n}")).await }
        });
        let answers = join_all(guesses).await;
        let (tried, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 401);
        assert_eq!((tried.len(), refused.len()), (5, 45));
        assert!(refused.into_iter().all(|answer| locked(answer) == 15));
    }
    // After the pause it is one at a time.
    app.advance(Duration::from_secs(15));
    let guesses = (0..50).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        login(instance, &ada.email, "wrong password")
    });
    for answer in join_all(guesses).await {
        assert_eq!(locked(answer), 30);
    }
    let rows = app.database().await.collection::<Document>("lockouts");
    let sixth = rows.count_documents(doc! {"wrong": 6}).await.expect("a count");
    assert_eq!(sixth, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_devices_that_sign_in_at_once_all_get_in() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    wrong(&app, &ada.email, 3).await;
    let logins = (0..40).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        login(instance, &ada.email, &ada.password)
    });
    for answer in join_all(logins).await {
        answer.ok(200);
    }
    let rows = app.database().await.collection::<Document>("lockouts");
    let left = doc! {"$or": [{"wrong": {"$gt": 0}}, {"taken.0": {"$exists": true}}]};
    assert_eq!(rows.count_documents(left).await.expect("a count"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_passwords_among_wrong_ones_never_leave_more_than_five_in_a_row() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let logins = (0..60).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        let password = if n % 10 == 9 { &ada.password } else { "wrong password" };
        login(instance, &ada.email, password)
    });
    let answers = join_all(logins).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    let (right, tried, refused) = (count(200), count(401), count(429));
    assert_eq!(right + tried + refused, 60);
    // Each right one gives five more.
    assert!((5..=5 * (right + 1)).contains(&tried), "{right} right, {tried} tried");
    assert!(refused > 0);
}

/// What an instance that is killed in the middle of attempts leaves behind.
#[tokio::test]
async fn attempts_of_a_killed_instance_are_in_nobodys_way_for_long() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    wrong(&app, &ada.email, 1).await;
    let rows = app.database().await.collection::<Document>("lockouts");
    let id = mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: vec![7; 16],
    };
    let until = mongodb::bson::DateTime::from_millis(
        app.clock().now().plus(Duration::from_mins(1)).millis(),
    );
    let place = doc! {"id": id, "until": until};
    let places = vec![place.clone(), place.clone(), place.clone(), place];
    rows.update_one(doc! {}, doc! {"$set": {"taken": places}}).await.expect("an update");
    let patient = login(&app, &ada.email, &ada.password);
    tokio::pin!(patient);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut patient).await;
    assert!(early.is_err(), "it had no place");
    app.advance(Duration::from_mins(1));
    patient.await.ok(200);
}

#[tokio::test]
async fn no_address_is_kept_of_who_is_not_known() {
    let app = TestApp::spawn().await;
    wrong(&app, "somebody.private@example.com", 1).await;
    let rows = app.database().await.collection::<Document>("lockouts");
    let row = rows.find_one(doc! {}).await.expect("a read").expect("a row");
    assert_eq!(row.get_binary_generic("_id").map(Vec::len).ok(), Some(32));
    assert!(!row.to_string().contains("somebody"));
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"somebody.private@example.com");
    assert_ne!(row.get_binary_generic("_id").ok().map(Vec::as_slice), Some(digest.as_ref()));
}

#[tokio::test]
async fn passwords_asked_for_while_signed_in_count_as_well() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let elsewhere = second.seen_by(&ada);
    let change = |actor: &Actor, current: &str| {
        let input = json!({"current_password": current, "new_password": "another password"});
        let actor = actor.clone();
        async move { actor.put("/password", input).await }
    };
    let delete = |actor: &Actor, password: &str| {
        let request = actor.request("DELETE", "/profile").json(&json!({"password": password}));
        Answer::of(request)
    };
    change(&ada, "wrong password").await.problem(403, "forbidden");
    delete(&elsewhere, "wrong password").await.problem(403, "forbidden");
    change(&elsewhere, "").await.problem(403, "forbidden");
    delete(&ada, "wrong password").await.problem(403, "forbidden");
    wrong(&app, &ada.email, 1).await;
    assert_eq!(locked(change(&ada, &ada.password).await), 15);
    assert_eq!(locked(delete(&ada, &ada.password).await), 15);
    assert_eq!(locked(login(&second, &ada.email, &ada.password).await), 15);
    ada.get("/profile").await.ok(200);
    app.advance(Duration::from_secs(15));
    assert_eq!(locked(delete(&ada, "wrong password").await), 30);
    app.advance(Duration::from_secs(30));
    change(&ada, &ada.password).await.ok(204);
    login(&app, &ada.email, "another password").await.ok(200);
}
