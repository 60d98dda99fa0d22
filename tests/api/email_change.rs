//! Changing one's address: what withdraws it, what undoes it, and who can have the old one.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const NEW: &str = "a new password";

const ASKED: &str = "Another e-mail address";

const RESET: &str = "Choose a new password";

const DAY: Duration = Duration::from_hours(24);

async fn wants(actor: &Actor, email: &str) -> Value {
    actor.put("/profile", json!({"email": email})).await.ok(200)
}

async fn verify(app: &TestApp, token: &str) -> Answer {
    app.post("/verify", json!({"token": token})).await
}

async fn undo(app: &TestApp, token: &str) -> Answer {
    app.post("/email/undo", json!({"token": token})).await
}

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

async fn forgot(app: &TestApp, email: &str) {
    app.post("/password/forgot", json!({"email": email})).await.ok(202);
}

async fn reset(app: &TestApp, token: &str, password: &str) -> Answer {
    app.post("/password/reset", json!({"token": token, "password": password})).await
}

async fn sign_up(app: &TestApp, name: &str, email: &str) -> Answer {
    let input = json!({"username": name, "email": email, "password": "correct horse"});
    app.post("/signup", input).await
}

/// Moves an account to another address by its mailed link, and gives the token that undoes it.
async fn moves(app: &TestApp, actor: &Actor, from: &str, to: &str) -> String {
    wants(actor, to).await;
    let token = app.mail(to, 1).await.token();
    verify(app, &token).await.ok(200);
    app.mail_about(from, ASKED, 1).await.token()
}

/// The story of an access token that was stolen for an hour.
#[tokio::test]
async fn a_stolen_token_does_not_become_the_account() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let thief = ada.clone();
    let mut socket = second.seen_by(&thief).socket().await;

    wants(&thief, "thief@example.com").await;
    let theirs = app.mail("thief@example.com", 1).await.token();
    let asked = app.mail_about(&ada.email, ASKED, 1).await;
    assert!(asked.raw.contains("\r\nhttps://localhost:8443/email/undo?token="));
    assert!(!asked.raw.contains("thief@"), "a mail shows no address that somebody else chose");
    verify(&app, &theirs).await.ok(200);
    assert_eq!(thief.get("/profile").await.ok(200)["email"], "thief@example.com");
    // The thief asks for one more address, whose link is mailed to theirs.
    app.advance(Duration::from_mins(40));
    wants(&thief, "thief2@example.com").await;
    let second_link = app.mail("thief2@example.com", 1).await.token();

    let answer = undo(&app, &asked.token()).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(socket.closed().await, 4401);
    thief.get("/profile").await.problem(401, "session_revoked");
    let refresh = json!({"refresh_token": thief.refresh_token});
    second.post("/token/refresh", refresh).await.problem(401, "invalid_refresh_token");
    for link in [&theirs, &second_link] {
        verify(&second, link).await.problem(422, "invalid_or_expired_token");
    }
    for email in [&ada.email, "thief@example.com"] {
        login(&app, email, &ada.password).await.problem(401, "invalid_credentials");
    }
    undo(&second, &asked.token()).await.problem(422, "invalid_or_expired_token");
    sign_up(&second, "taker", &ada.email).await.problem(409, "email_taken");

    forgot(&app, "thief@example.com").await;
    forgot(&app, &ada.email).await;
    let token = app.mail_about(&ada.email, RESET, 1).await.token();
    assert_eq!(app.mails("thief@example.com").iter().filter(|it| it.is_about(RESET)).count(), 0);
    reset(&app, &token, NEW).await.ok(204);
    let back = app.login(&ada.email, NEW).await;
    let profile = back.get("/profile").await.ok(200);
    assert_eq!((&profile["id"], &profile["email"]), (&json!(ada.id), &json!(ada.email)));
    assert_eq!(profile["pending_email"], Value::Null);
    // The thief's address is the thief's own again, and nobody else's.
    sign_up(&app, "other", "thief@example.com").await.ok(201);
}

/// What the owner does, and who is signed in after it; `other` is an address that nobody has.
async fn shows(app: &TestApp, user: &Actor, how: &str, other: &str) -> Actor {
    match how {
        "password" => {
            let input = json!({"current_password": user.password, "new_password": NEW});
            user.put("/password", input).await.ok(204);
        }
        "reset" => {
            forgot(app, &user.email).await;
            let token = app.mail_about(&user.email, RESET, 1).await.token();
            reset(app, &token, NEW).await.ok(204);
            return app.login(&user.email, NEW).await;
        }
        "sessions" => drop(user.delete("/sessions").await.ok(204)),
        "newer" => drop(wants(user, other).await),
        _ => drop(wants(user, &user.email).await),
    }
    user.clone()
}

#[tokio::test]
async fn what_shows_the_owner_withdraws_a_change_and_its_links() {
    let app = TestApp::spawn().await;
    for how in ["password", "reset", "sessions", "newer", "own"] {
        let user = app.user(how).await;
        let (first, other) = (format!("{how}1@new.test"), format!("{how}2@new.test"));
        wants(&user, &first).await;
        let link = app.mail(&first, 1).await.token();
        let user = shows(&app, &user, how, &other).await;
        let waits = if how == "newer" { json!(other) } else { Value::Null };
        assert_eq!(user.get("/profile").await.ok(200)["pending_email"], waits, "{how}");
        verify(&app, &link).await.problem(422, "invalid_or_expired_token");
        // Wanting it again makes no old link good.
        app.advance(Duration::from_mins(2));
        wants(&user, &first).await;
        verify(&app, &link).await.problem(422, "invalid_or_expired_token");
        let link = app.mail(&first, 2).await.token();
        assert_eq!(verify(&app, &link).await.ok(200)["email"], first.as_str(), "{how}");
    }
    // So does deleting the account.
    let user = app.user("delete").await;
    wants(&user, "delete1@new.test").await;
    let link = app.mail("delete1@new.test", 1).await.token();
    let undoing = app.mail_about(&user.email, ASKED, 1).await.token();
    let delete = user.request("DELETE", "/profile");
    Answer::of(delete.json(&json!({"password": user.password}))).await.ok(204);
    verify(&app, &link).await.problem(422, "invalid_or_expired_token");
    undo(&app, &undoing).await.problem(422, "invalid_or_expired_token");
    sign_up(&app, "heir", &user.email).await.ok(201);
}

/// A change that a session asks for while it is ended comes before its end, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_being_ended_leaves_no_change_behind() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    for round in 0..6 {
        let ada = app.user(&format!("ada{round}")).await;
        let thief = second.seen_by(&app.login(&ada.email, &ada.password).await);
        let input = json!({"current_password": ada.password, "new_password": NEW});
        let asks = (0..4).map(|n| {
            let wish = json!({"email": format!("thief{round}.{n}@example.com")});
            thief.put("/profile", wish)
        });
        let ending = async {
            if round % 2 == 0 {
                ada.put("/password", input).await.ok(204);
            } else {
                ada.delete("/sessions").await.ok(204);
            }
        };
        let (answers, ()) = tokio::join!(join_all(asks), ending);
        for answer in answers {
            assert!([200, 401, 503].contains(&answer.status), "{}", answer.text());
        }
        let pending = ada.get("/profile").await.ok(200)["pending_email"].clone();
        assert_eq!(pending, Value::Null, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_and_a_new_password_at_once_come_one_after_the_other() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    for round in 0..8 {
        let ada = app.user(&format!("ada{round}")).await;
        let wanted = format!("new{round}@example.com");
        wants(&ada, &wanted).await;
        let token = app.mail(&wanted, 1).await.token();
        let change = json!({"current_password": ada.password, "new_password": NEW});
        let link = async {
            tokio::time::sleep(Duration::from_millis(round * 2)).await;
            verify(&second, &token).await
        };
        let (verified, changed) = tokio::join!(link, ada.put("/password", change));
        changed.ok(204);
        let profile = ada.get("/profile").await.ok(200);
        assert_eq!(profile["pending_email"], Value::Null);
        let email = if verified.status == 200 { &wanted } else { &ada.email };
        assert_eq!(profile["email"], email.as_str(), "{}", verified.text());
        if verified.status != 200 {
            verified.problem(422, "invalid_or_expired_token");
        }
        verify(&app, &token).await.problem(422, "invalid_or_expired_token");
        login(&app, email, NEW).await.ok(200);
    }
}

#[tokio::test]
async fn an_old_address_is_held_for_a_week_and_then_free() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    // Bob's link to Ada's address, from before she is there.
    wants(&bob, "ada@new.test").await;
    let early = app.mail("ada@new.test", 1).await.token();
    wants(&ada, "ada@new.test").await;
    let token = app.mail("ada@new.test", 2).await.token();
    verify(&app, &token).await.ok(200);
    verify(&app, &early).await.problem(409, "email_taken");

    sign_up(&app, "carol", "ADA@example.com").await.problem(409, "email_taken");
    bob.put("/profile", json!({"email": ada.email})).await.problem(409, "email_taken");
    login(&app, &ada.email, &ada.password).await.problem(401, "invalid_credentials");
    login(&app, "ada@new.test", &ada.password).await.ok(200);
    app.advance(Duration::from_mins(7 * 24 * 60 - 1));
    sign_up(&app, "carol", &ada.email).await.problem(409, "email_taken");
    app.advance(Duration::from_mins(1));
    sign_up(&app, "carol", &ada.email).await.ok(201);
    let ada = app.login("ada@new.test", &ada.password).await;
    assert_eq!(ada.get("/profile").await.ok(200)["email"], "ada@new.test");
}

/// However many want it, and whatever happens to it meanwhile, one account has an address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_that_want_an_address_one_has_it() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    wants(&ada, "ada@new.test").await;
    let token = app.mail("ada@new.test", 1).await.token();
    // While the address is given up, nobody gets hold of it.
    let takers = (0..50).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        async move { sign_up(instance, &format!("early{n}"), "ada@example.com").await }
    });
    let (verified, taken) = tokio::join!(verify(&second, &token), join_all(takers));
    verified.ok(200);
    for answer in taken {
        assert!([409, 503].contains(&answer.status), "{}", answer.text());
    }
    // When its time is over, one does: by signing up, or by moving there.
    app.advance(7 * DAY);
    let bob = app.login(&bob.email, &bob.password).await;
    wants(&bob, "ada@example.com").await;
    let bobs = app.mail_about("ada@example.com", "Confirm your new", 1).await.token();
    let takers = (0..50).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        async move { sign_up(instance, &format!("late{n}"), "ada@example.com").await }
    });
    let (moved, taken) = tokio::join!(verify(&second, &bobs), join_all(takers));
    let verified_by_bob = usize::from(moved.status == 200);
    let signed_up = taken.iter().filter(|answer| answer.status == 201).count();
    // A move takes the address from a signup that nobody verified.
    assert!(signed_up <= 1 && verified_by_bob + signed_up >= 1, "{verified_by_bob} {signed_up}");
    let rows = app.database().await.collection::<mongodb::bson::Document>("users");
    let held = mongodb::bson::doc! { "address_keys": "ada@example.com" };
    assert_eq!(rows.count_documents(held).await.expect("a count"), 1);
}

#[tokio::test]
async fn for_72_hours_only_the_old_address_sets_a_new_password() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    moves(&app, &ada, &ada.email, "new@example.com").await;
    let resets = |to: &str| app.mails(to).iter().filter(|mail| mail.is_about(RESET)).count();
    forgot(&app, "new@example.com").await;
    forgot(&app, "ADA@example.com").await;
    let token = app.mail_about(&ada.email, RESET, 1).await.token();
    assert_eq!(resets("new@example.com"), 0);
    reset(&app, &token, NEW).await.ok(204);
    let ada = app.login("new@example.com", NEW).await;
    assert_eq!(ada.get("/profile").await.ok(200)["email"], "new@example.com");

    app.advance(Duration::from_hours(72));
    forgot(&app, "ada@example.com").await;
    forgot(&app, "new@example.com").await;
    let token = app.mail_about("new@example.com", RESET, 1).await.token();
    assert_eq!(resets("ada@example.com"), 1);
    reset(&app, &token, "one more password").await.ok(204);
    login(&app, "new@example.com", "one more password").await.ok(200);
}

#[tokio::test]
async fn a_change_can_be_withdrawn_before_it_is_made_and_undone_for_a_week() {
    let app = TestApp::spawn().await;
    // Before.
    let ada = app.user("ada").await;
    wants(&ada, "thief@example.com").await;
    let theirs = app.mail("thief@example.com", 1).await.token();
    let link = app.mail_about(&ada.email, ASKED, 1).await.token();
    undo(&app, &link).await.ok(204);
    ada.get("/profile").await.problem(401, "session_revoked");
    verify(&app, &theirs).await.problem(422, "invalid_or_expired_token");
    login(&app, &ada.email, &ada.password).await.problem(401, "invalid_credentials");
    // Whoever comes again within the hour is told of again.
    forgot(&app, &ada.email).await;
    let token = app.mail_about(&ada.email, RESET, 1).await.token();
    reset(&app, &token, NEW).await.ok(204);
    let ada = app.login(&ada.email, NEW).await;
    wants(&ada, "thief3@example.com").await;
    let link = app.mail_about(&ada.email, ASKED, 2).await.token();
    undo(&app, &link).await.ok(204);

    // Not quite a week after, by a password that the thief changed, too.
    let bob = app.user("bob").await;
    let link = moves(&app, &bob, &bob.email, "bob@new.test").await;
    let change = json!({"current_password": bob.password, "new_password": NEW});
    bob.put("/password", change).await.ok(204);
    app.advance(Duration::from_millis(7 * 24 * 3_600_000 - 1));
    undo(&app, &link).await.ok(204);
    login(&app, "bob@new.test", NEW).await.problem(401, "invalid_credentials");
    forgot(&app, &bob.email).await;
    let token = app.mail_about(&bob.email, RESET, 1).await.token();
    reset(&app, &token, NEW).await.ok(204);
    login(&app, &bob.email, NEW).await.ok(200);

    // A week after.
    let carol = app.user("carol").await;
    let link = moves(&app, &carol, &carol.email, "carol@new.test").await;
    app.advance(7 * DAY);
    undo(&app, &link).await.problem(422, "invalid_or_expired_token");
    login(&app, "carol@new.test", &carol.password).await.ok(200);
}

#[tokio::test]
async fn of_fifty_that_undo_one_does_and_other_tokens_do_not() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let link = moves(&app, &ada, &ada.email, "new@example.com").await;
    forgot(&app, &ada.email).await;
    let resets = app.mail_about(&ada.email, RESET, 1).await.token();
    undo(&app, &resets).await.problem(422, "invalid_or_expired_token");
    verify(&app, &link).await.problem(422, "invalid_or_expired_token");
    reset(&app, &link, NEW).await.problem(422, "invalid_or_expired_token");
    let rows = app.database().await.collection::<mongodb::bson::Document>("tokens");
    let row = rows.find_one(mongodb::bson::doc! { "kind": "undo_email" }).await.expect("a read");
    assert!(!row.expect("a row").to_string().contains(&link));
    let undone = (0..50).map(|n| undo(if n % 2 == 0 { &app } else { &second }, &link));
    let answers = join_all(undone).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 204) {
        answer.problem(422, "invalid_or_expired_token");
    }
    reset(&app, &resets, NEW).await.problem(422, "invalid_or_expired_token");
    undo(&app, "x").await.problem(422, "invalid_or_expired_token");
    app.post("/email/undo", json!({"token": {"$ne": null}})).await.invalid(&["token"]);
    app.post("/email/undo", json!({})).await.invalid(&["token"]);
}

/// Who changes an address twice gets no hold on the account by the second old address.
#[tokio::test]
async fn the_first_old_address_wins_over_later_ones() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let owners = moves(&app, &ada, &ada.email, "thief@example.com").await;
    app.advance(Duration::from_hours(2));
    let ada = app.login("thief@example.com", &ada.password).await;
    let thiefs = moves(&app, &ada, "thief@example.com", "thief2@example.com").await;
    forgot(&app, "thief@example.com").await;
    forgot(&app, "thief2@example.com").await;
    undo(&app, &thiefs).await.ok(204);
    forgot(&app, "thief@example.com").await;
    undo(&app, &owners).await.ok(204);
    forgot(&app, "ada@example.com").await;
    let token = app.mail_about("ada@example.com", RESET, 1).await.token();
    reset(&app, &token, NEW).await.ok(204);
    login(&app, "ada@example.com", NEW).await.ok(200);
    for thiefs in ["thief@example.com", "thief2@example.com"] {
        assert!(!app.mails(thiefs).iter().any(|mail| mail.is_about(RESET)), "{thiefs}");
    }
}

#[tokio::test]
async fn the_page_that_undoes_posts_and_shows_no_token() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    wants(&ada, "new@example.com").await;
    let token = app.mail_about(&ada.email, ASKED, 1).await.token();
    for path in [format!("/email/undo?token={token}"), "/email/undo".to_owned()] {
        let page = app.get(&path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        let text = page.text();
        assert!(text.contains("<button") && !text.contains(&token), "{text}");
    }
    // Looking at the page withdraws nothing.
    assert_eq!(ada.get("/profile").await.ok(200)["pending_email"], "new@example.com");
    undo(&app, &token).await.ok(204);
}

#[tokio::test]
async fn a_password_that_is_given_is_checked() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let wish = |password: &str| json!({"email": "new@example.com", "current_password": password});
    ada.put("/profile", wish("wrong password")).await.problem(403, "forbidden");
    ada.put("/profile", json!({"current_password": "wrong password"}))
        .await
        .problem(403, "forbidden");
    ada.put("/profile", json!({"current_password": 7})).await.invalid(&["current_password"]);
    assert_eq!(ada.get("/profile").await.ok(200)["pending_email"], Value::Null);
    assert_eq!(
        ada.put("/profile", wish(&ada.password)).await.ok(200)["pending_email"],
        "new@example.com"
    );
    // Each wrong one counts like a wrong login.
    for _ in 0..5 {
        ada.put("/profile", wish("wrong password")).await.problem(403, "forbidden");
    }
    ada.put("/profile", wish(&ada.password)).await.problem(429, "account_locked");
    login(&app, &ada.email, &ada.password).await.problem(429, "account_locked");
}

#[tokio::test]
async fn a_password_may_be_needed_for_another_address() {
    let needed = |settings: &mut natter::config::Settings| {
        settings.accounts.email_change_needs_password = true;
    };
    let app = TestApp::with(needed).await;
    let ada = app.user("ada").await;
    for email in ["new@example.com", "ADA@example.com"] {
        let problem = ada.put("/profile", json!({"email": email})).await;
        let problem = problem.invalid(&["current_password"]);
        assert_eq!(problem["errors"][0]["code"], "required");
    }
    ada.put("/profile", json!({"username": "adela", "email": ada.email})).await.ok(200);
    let wish = json!({"email": "new@example.com", "current_password": ada.password});
    assert_eq!(ada.put("/profile", wish).await.ok(200)["pending_email"], "new@example.com");
}
