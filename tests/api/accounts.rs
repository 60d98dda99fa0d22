//! Signing up, verifying, signing in.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const DAY: Duration = Duration::from_hours(24);

fn account(name: &str) -> Value {
    json!({
        "username": name, "email": format!("{name}@example.com"), "password": "correct horse",
    })
}

#[tokio::test]
async fn someone_signs_up_verifies_and_signs_in() {
    let app = TestApp::spawn().await;
    let user = app.post("/signup", account("Ada")).await.ok(201);
    assert_eq!(
        user,
        json!({
            "id": user["id"], "username": "Ada", "email": "Ada@example.com", "pending_email": null,
            "verified": false, "profile_picture": null, "created_at": app.clock().now().to_string(),
        })
    );
    let login = json!({"email": "ada@EXAMPLE.com", "password": "correct horse"});
    app.post("/login", login.clone()).await.problem(403, "account_not_verified");

    let token = app.mail("Ada@example.com", 1).await.token();
    let verified = app.post("/verify", json!({"token": token})).await.ok(200);
    assert_eq!((&verified["id"], &verified["verified"]), (&user["id"], &json!(true)));
    let again = app.post("/verify", json!({"token": token})).await;
    again.problem(422, "invalid_or_expired_token");

    let answer = app.post("/login", login).await.ok(200);
    assert_eq!(answer["user"], verified);
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(5));
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_answer_alike() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.sign_up("bob").await;
    let login = |email: &str, password: &str| {
        let input = json!({"email": email, "password": password});
        async { app.post("/login", input).await }
    };
    let wrong = login(&ada.email, "wrong password").await;
    assert_eq!(wrong.header("www-authenticate"), "Bearer");
    let told = |answer: Answer| {
        let mut problem = answer.problem(401, "invalid_credentials");
        problem["request_id"] = Value::Null;
        problem
    };
    let wrong = told(wrong);
    assert_eq!(told(login("nobody@example.com", "wrong password").await), wrong);
    assert_eq!(told(login(&ada.email, "").await), wrong);
    assert_eq!(told(login(&ada.email, &"x".repeat(5000)).await), wrong);
    // Of an account that is not verified, only its owner learns so.
    assert_eq!(told(login("bob@example.com", "wrong password").await), wrong);
    login("bob@example.com", "bob-password").await.problem(403, "account_not_verified");
}

#[tokio::test]
async fn passwords_are_8_characters_to_72_bytes() {
    let app = TestApp::spawn().await;
    let sign_up = |name: &'static str, password: String| {
        let mut input = account(name);
        input["password"] = password.into();
        async { app.post("/signup", input).await }
    };
    sign_up("seven", "x".repeat(7)).await.invalid(&["password"]);
    sign_up("toolong", "x".repeat(73)).await.invalid(&["password"]);
    sign_up("toolong", format!("{}x", "ä".repeat(36))).await.invalid(&["password"]);
    sign_up("nul", "nul\0 inside".to_owned()).await.invalid(&["password"]);
    sign_up("eight", "x".repeat(8)).await.ok(201);
    let longest = "y".repeat(72);
    sign_up("longest", longest.clone()).await.ok(201);
    let token = app.mail("longest@example.com", 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    let longer = json!({"email": "longest@example.com", "password": format!("{longest}z")});
    app.post("/login", longer).await.problem(401, "invalid_credentials");
    app.login("longest@example.com", &longest).await;
    let users = app.database().await.collection::<Document>("users");
    let row = users.find_one(doc! {"username": "longest"}).await.expect("a read").expect("a row");
    let hash = row.get_str("password_hash").expect("a hash");
    assert!(hash.starts_with("$2b$04$") && !format!("{row:?}").contains(&longest));
}

#[tokio::test]
async fn every_bad_field_is_told_and_objects_are_no_queries() {
    let app = TestApp::spawn().await;
    app.user("ada").await;
    app.post("/signup", json!({})).await.invalid(&["email", "password", "username"]);
    let input = json!({"username": " ada", "email": "ada@", "password": 8});
    app.post("/signup", input).await.invalid(&["email", "password", "username"]);
    app.post("/signup", account("admin")).await.invalid(&["username"]);

    let objects = [json!({"$ne": null}), json!({"$gt": ""}), json!(["a"]), json!(1), json!(true)];
    let fields = [
        ("/signup", vec!["email", "password", "username"]),
        ("/login", vec!["email", "password"]),
        ("/verify", vec!["token"]),
        ("/verify/resend", vec!["email"]),
        ("/token/refresh", vec!["refresh_token"]),
    ];
    for object in objects {
        for (path, names) in &fields {
            let input: Value = names.iter().map(|name| (*name, object.clone())).collect();
            app.post(path, input).await.invalid(names);
        }
    }
}

#[tokio::test]
async fn of_many_signups_with_one_address_one_succeeds() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let attempts = (0..50).map(|n: usize| {
        let email: String = "ada@example.com"
            .chars()
            .enumerate()
            .map(|(at, c)| if n >> (at % 6) & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let input =
            json!({"username": format!("ada{n}"), "email": email, "password": "correct horse"});
        let app = if n.is_multiple_of(2) { &app } else { &second };
        async move { app.post("/signup", input).await }
    });
    let answers = futures_util::future::join_all(attempts).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
    assert_eq!((made.len(), refused.len()), (1, 49));
    for answer in refused {
        answer.problem(409, "email_taken");
    }
    let database = app.database().await;
    for collection in ["users", "tokens"] {
        let rows = database.collection::<Document>(collection);
        assert_eq!(rows.count_documents(doc! {}).await.expect("a count"), 1, "{collection}");
    }
}

#[tokio::test]
async fn names_and_addresses_are_unique_ignoring_case() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let taken = |username: &str, email: &str| {
        let input = json!({"username": username, "email": email, "password": "correct horse"});
        async { app.post("/signup", input).await }
    };
    taken("bob", "ADA@example.com").await.problem(409, "email_taken");
    taken("ADA", "bob@example.com").await.problem(409, "username_taken");
    taken("aDa", "Ada@Example.Com").await.problem(409, "email_taken");

    let names = (0..20).map(|n| {
        let name = if n % 2 == 0 { "Grace" } else { "gracE" };
        taken(name, if n == 7 { "grace@example.com" } else { "hopper@example.com" })
    });
    let answers = futures_util::future::join_all(names).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)));
}

#[tokio::test]
async fn an_account_that_nobody_verifies_is_gone_after_a_day() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let token = app.mail("ada@example.com", 1).await.token();
    app.advance(DAY.checked_sub(Duration::from_secs(1)).expect("positive"));
    app.post("/signup", account("ada")).await.problem(409, "email_taken");
    app.advance(Duration::from_secs(1));
    let login = json!({"email": "ada@example.com", "password": "ada-password"});
    app.post("/login", login).await.problem(401, "invalid_credentials");
    app.post("/verify", json!({"token": token})).await.problem(422, "invalid_or_expired_token");

    // Name and address are free, even with different people.
    let input = json!({"username": "Ada", "email": "bob@example.com", "password": "bob-password"});
    app.post("/signup", input).await.ok(201);
    let input = json!({"username": "bob", "email": "ADA@example.com", "password": "ada-password"});
    app.post("/signup", input).await.ok(201);
    let users = app.database().await.collection::<Document>("users");
    assert_eq!(users.count_documents(doc! {}).await.expect("a count"), 2);
}

#[tokio::test]
async fn a_verified_account_stays() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.advance(DAY * 400);
    app.post("/signup", account("ada")).await.problem(409, "email_taken");
    app.login(&ada.email, &ada.password).await;
}

#[tokio::test]
async fn the_mailed_link_is_a_page_that_posts() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let mail = app.mail("ada@example.com", 1).await;
    assert!(mail.raw.contains("\r\nhttps://localhost:8443/verify?token="));
    let token = mail.token();
    for path in [
        format!("/verify?token={token}"),
        "/verify".to_owned(),
        "/verify?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&utm_source=mail".to_owned(),
    ] {
        let page = app.get(&path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = page.header("content-security-policy");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
        let nonce = nonce.expect("a nonce");
        assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        let text = page.text();
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert!(!text.contains(&token) && !text.contains("alert(1)") && !text.contains("utm_"));
    }
    // Looking at the page uses nothing up.
    app.post("/verify", json!({"token": token})).await.ok(200);
}

#[tokio::test]
async fn a_link_is_mailed_again_only_to_who_waits_for_it() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let bob = app.user("bob").await;
    let first = app.mail("ada@example.com", 1).await.token();
    for email in ["nobody@example.com", &bob.email, "ADA@example.com"] {
        let answer = app.post("/verify/resend", json!({"email": email})).await;
        assert_eq!((answer.status, answer.text().as_str()), (202, ""));
    }
    let second = app.mail("ada@example.com", 2).await.token();
    assert_ne!(first, second);
    assert_eq!(app.mails("nobody@example.com").len(), 0);
    assert_eq!(app.mails(&bob.email).len(), 1);
    app.post("/verify", json!({"token": second})).await.ok(200);
    app.post("/verify", json!({"token": first})).await.problem(422, "invalid_or_expired_token");
}

#[tokio::test]
async fn nothing_in_the_store_is_a_usable_token() {
    let app = TestApp::with(|settings| {
        // A mail that cannot be written stays.
        settings.mail.url = natter::config::MailUrl::Files("/dev/null/no-directory".into());
    })
    .await;
    app.sign_up("ada").await;
    let database = app.database().await;
    let jobs = database.collection::<Document>("jobs");
    let mail = jobs.find_one(doc! {"kind": "mail"}).await.expect("a read");
    let mail = mail.expect("a mail that waits");
    let mail = mail.get_document("payload").expect("a payload");
    assert_eq!(mail.get_str("to").ok(), Some("ada@example.com"));
    let stored = mail.get_str("nonce").expect("a nonce");
    let tokens = database.collection::<Document>("tokens");
    let token = tokens.find_one(doc! {}).await.expect("a read").expect("a token");
    let digest = token.get_binary_generic("_id").expect("a digest");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, digest);
    for token in [stored, &encoded] {
        let answer = app.post("/verify", json!({"token": token})).await;
        answer.problem(422, "invalid_or_expired_token");
    }
}

/// While many sign in, everyone else is answered as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_logins_leaves_other_routes_alone() {
    let app = TestApp::with(|settings| {
        settings.auth.bcrypt_cost = 11;
        settings.auth.bcrypt_threads = 2;
    })
    .await;
    let ada = app.user("ada").await;
    let storm = futures_util::future::join_all((0..40).map(|n| {
        let input = json!({"email": format!("nobody{n}@example.com"), "password": "wrong one"});
        async { app.post("/login", input).await.problem(401, "invalid_credentials") }
    }));
    let reads = async {
        for _ in 0..10 {
            app.get("/healthz").await.ok(200);
            ada.get("/profile").await.ok(200);
        }
    };
    tokio::pin!(storm);
    tokio::select! {
        biased;
        _ = &mut storm => panic!("the reads waited for the storm"),
        () = reads => {}
    }
    storm.await;
}
