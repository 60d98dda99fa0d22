//! One's own profile, and changing one's address.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

async fn wants(actor: &Actor, email: &str) -> Value {
    actor.put("/profile", json!({"email": email})).await.ok(200)
}

#[tokio::test]
async fn what_is_absent_stays() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let before = ada.get("/profile").await.ok(200);
    assert_eq!(before["username"], "ada");
    assert_eq!(ada.put("/profile", json!({})).await.ok(200), before);
    assert_eq!(ada.put("/profile", json!({"profile_picture": null})).await.ok(200), before);
    let after = ada.put("/profile", json!({"username": "Ada"})).await.ok(200);
    let mut expected = before.clone();
    expected["username"] = "Ada".into();
    assert_eq!(after, expected);
    assert_eq!(ada.get("/profile").await.ok(200), expected);
}

#[tokio::test]
async fn a_bad_profile_changes_nothing() {
    let app = TestApp::spawn().await;
    let (ada, _bob) = (app.user("ada").await, app.user("bob").await);
    let before = ada.get("/profile").await.ok(200);
    let all = json!({"username": {"$ne": null}, "email": null, "profile_picture": {"$gt": ""}});
    ada.put("/profile", all).await.invalid(&["email", "profile_picture", "username"]);
    ada.put("/profile", json!({"username": null})).await.invalid(&["username"]);
    ada.put("/profile", json!({"username": "root", "email": "x"}))
        .await
        .invalid(&["email", "username"]);
    let unknown = natter::internals::domain::AttachmentId::random();
    let picture = json!({"profile_picture": unknown, "username": "adela"});
    ada.put("/profile", picture).await.invalid(&["profile_picture"]);
    ada.put("/profile", json!({"username": "BOB"})).await.problem(409, "username_taken");
    let both = json!({"username": "bob", "email": "BOB@example.com"});
    ada.put("/profile", both).await.problem(409, "email_taken");
    let both = json!({"username": "bob", "email": "free@example.com"});
    ada.put("/profile", both).await.problem(409, "username_taken");
    assert_eq!(ada.get("/profile").await.ok(200), before);
    assert_eq!(app.mails("free@example.com").len(), 0);
}

#[tokio::test]
async fn a_name_that_nobody_verified_in_time_can_be_taken() {
    let app = TestApp::spawn().await;
    app.sign_up("bob").await;
    let ada = app.user("ada").await;
    ada.put("/profile", json!({"username": "bob"})).await.problem(409, "username_taken");
    app.advance(Duration::from_hours(24));
    let ada = app.login(&ada.email, &ada.password).await;
    assert_eq!(ada.put("/profile", json!({"username": "bob"})).await.ok(200)["username"], "bob");
}

#[tokio::test]
async fn a_new_address_counts_once_its_link_is_used() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let waiting = wants(&ada, "Ada@new.example").await;
    assert_eq!(
        (&waiting["email"], &waiting["pending_email"]),
        (&json!(ada.email), &json!("Ada@new.example"))
    );
    assert_eq!(waiting["verified"], true);
    let mail = app.mail("Ada@new.example", 1).await;
    // Asking again fills nobody's mailbox.
    wants(&ada, "ada@NEW.example").await;
    let login = |email: &'static str| {
        let input = json!({"email": email, "password": ada.password});
        async { app.post("/login", input).await }
    };
    login("ada@new.example").await.problem(401, "invalid_credentials");

    let changed = app.post("/verify", json!({"token": mail.token()})).await.ok(200);
    assert_eq!(
        (&changed["email"], &changed["pending_email"]),
        (&json!("Ada@new.example"), &Value::Null)
    );
    assert_eq!(ada.get("/profile").await.ok(200), changed);
    login("ada@new.example").await.ok(200);
    login("ada@example.com").await.problem(401, "invalid_credentials");
    let notice = app.mail_about(&ada.email, "was changed", 1).await;
    assert!(notice.body().starts_with("Hello ada,"));
    assert!(!notice.raw.contains("token") && !notice.raw.contains("new.example"));
    assert_eq!(app.mails("Ada@new.example").len(), 1);
    // The old one is free after a week.
    app.sign_up("other").await;
    app.advance(Duration::from_hours(7 * 24));
    let input = json!({"username": "heir", "email": ada.email, "password": "correct horse"});
    app.post("/signup", input).await.ok(201);
}

#[tokio::test]
async fn another_wish_replaces_the_one_before() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    wants(&ada, "one@example.com").await;
    // A link that was replaced before its mail went out is not mailed.
    let one = app.mail("one@example.com", 1).await;
    wants(&ada, "two@example.com").await;
    let two = app.mail("two@example.com", 1).await;
    app.post("/verify", json!({"token": one.token()}))
        .await
        .problem(422, "invalid_or_expired_token");
    // One's own address, in other case: nothing to verify, nothing waited for.
    let own = wants(&ada, "ADA@example.com").await;
    assert_eq!((&own["email"], &own["pending_email"]), (&json!("ADA@example.com"), &Value::Null));
    app.post("/verify", json!({"token": two.token()}))
        .await
        .problem(422, "invalid_or_expired_token");
    app.advance(Duration::from_mins(2));
    wants(&ada, "two@example.com").await;
    let two = app.mail("two@example.com", 2).await;
    app.advance(Duration::from_hours(24));
    app.post("/verify", json!({"token": two.token()}))
        .await
        .problem(422, "invalid_or_expired_token");
}

#[tokio::test]
async fn if_two_want_an_address_the_first_to_verify_has_it() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (ada, bob, carol) = (app.user("ada").await, app.user("bob").await, app.user("carol").await);
    wants(&ada, "both@example.com").await;
    wants(&bob, "BOTH@example.com").await;
    let tokens = [
        app.mail("both@example.com", 1).await.token(),
        app.mail("BOTH@example.com", 1).await.token(),
    ];
    let (one, other) = tokio::join!(
        app.post("/verify", json!({"token": tokens[0]})),
        second.post("/verify", json!({"token": tokens[1]})),
    );
    let (winner, loser) = if one.status == 200 { (one, other) } else { (other, one) };
    winner.ok(200);
    loser.problem(409, "email_taken");
    carol.put("/profile", json!({"email": "Both@example.com"})).await.problem(409, "email_taken");
}

#[tokio::test]
async fn a_signup_and_a_change_race_for_an_address() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for (round, signup_first) in [(1, true), (2, false)] {
        let email = format!("both{round}@example.com");
        let input = json!({
            "username": format!("carol{round}"), "email": email, "password": "correct horse",
        });
        app.post("/signup", input).await.ok(201);
        let carols = app.mail(&email, 1).await.token();
        wants(&ada, &email).await;
        let adas = app.mail(&email, 2).await.token();
        let (first, last) = if signup_first { (carols, adas) } else { (adas, carols) };
        assert_eq!(
            app.post("/verify", json!({"token": first})).await.ok(200)["email"],
            email.as_str()
        );
        app.post("/verify", json!({"token": last})).await.problem(409, "email_taken");
    }
}

#[tokio::test]
async fn a_picture_is_an_image_of_ones_own() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let upload = |actor: Actor, bytes: Vec<u8>| async move {
        let part = reqwest::multipart::Part::bytes(bytes).file_name("me.png");
        let form = reqwest::multipart::Form::new().part("file", part);
        Answer::of(actor.request("POST", "/attachments").multipart(form)).await.ok(201)
    };
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(3, 2).write_to(&mut png, image::ImageFormat::Png).expect("a PNG");
    let mine = upload(ada.clone(), png.clone().into_inner()).await;
    let theirs = upload(bob.clone(), png.into_inner()).await;
    let text = upload(ada.clone(), b"just words".to_vec()).await;
    for other in [&theirs, &text] {
        let input = json!({"profile_picture": other["id"]});
        ada.put("/profile", input).await.invalid(&["profile_picture"]);
    }
    bob.get(&format!("/users/{}", ada.id)).await.ok(200);
    let changed = ada.put("/profile", json!({"profile_picture": mine["id"]})).await.ok(200);
    assert_eq!(changed["profile_picture"], mine);
    let seen = bob.get(&format!("/users/{}", ada.id)).await.ok(200);
    assert_eq!(seen["profile_picture"], mine);
    let cleared = ada.put("/profile", json!({"profile_picture": null})).await.ok(200);
    assert_eq!(cleared["profile_picture"], Value::Null);
}
