//! Costs of password hashes, and who waits for whom to be hashed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::{Actor, Answer, TestApp};

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

/// The stored hash of someone's password.
async fn hash_of(app: &TestApp, name: &str) -> String {
    let users = app.database().await.collection::<Document>("users");
    let row = users.find_one(doc! { "username": name }).await.expect("a read").expect("a row");
    row.get_str("password_hash").expect("a hash").to_owned()
}

#[tokio::test]
async fn a_raised_cost_makes_a_new_hash_at_the_next_right_password() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let dearer = app.instance_with(|settings| settings.auth.bcrypt_cost = 6).await;
    let before = hash_of(&app, "ada").await;
    assert!(before.starts_with("$2b$04$"), "{before}");
    login(&dearer, &ada.email, "wrong password").await.problem(401, "invalid_credentials");
    assert_eq!(hash_of(&app, "ada").await, before);
    login(&dearer, &ada.email, &ada.password).await.ok(200);
    let after = hash_of(&app, "ada").await;
    assert!(after.starts_with("$2b$06$"), "{after}");
    assert!(bcrypt::verify(&ada.password, &after).expect("a hash"));
    // Once; and an instance with the old cost does not take it back.
    for instance in [&dearer, &app] {
        login(instance, &ada.email, &ada.password).await.ok(200);
        login(instance, &ada.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    assert_eq!(hash_of(&app, "ada").await, after);
    // A right password anywhere does.
    let change = json!({"current_password": bob.password, "new_password": "another password"});
    dearer.seen_by(&bob).put("/password", change).await.ok(204);
    assert!(hash_of(&app, "bob").await.starts_with("$2b$06$"));
    // And accounts end by the password, too.
    let carol = dearer.seen_by(&app.user("carol").await);
    let goodbye = carol.request("DELETE", "/profile").json(&json!({"password": carol.password}));
    Answer::of(goodbye).await.ok(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_hash_never_refuses_a_login_nor_outlives_a_new_password() {
    let app = TestApp::spawn().await;
    let dearer = app.instance_with(|settings| settings.auth.bcrypt_cost = 6).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let logins = (0..40).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &dearer };
        login(instance, &ada.email, &ada.password)
    });
    for answer in join_all(logins).await {
        answer.ok(200);
    }
    assert!(hash_of(&app, "ada").await.starts_with("$2b$06$"));

    let change = json!({"current_password": bob.password, "new_password": "another password"});
    let change = bob.put("/password", change);
    let logins = join_all((0..4).map(|_| login(&dearer, &bob.email, &bob.password)));
    let (changed, _) = tokio::join!(change, logins);
    changed.ok(204);
    let hash = hash_of(&app, "bob").await;
    assert!(bcrypt::verify("another password", &hash).expect("a hash"), "{hash}");
    login(&dearer, &bob.email, &bob.password).await.problem(401, "invalid_credentials");
    login(&dearer, &bob.email, "another password").await.ok(200);
}

/// Expects wrong passwords for all of these to take alike: the quickest of four each, in turns, as
/// the machine may have other things to do. Gives the least.
async fn all_alike(app: &TestApp, emails: &[&str]) -> Duration {
    let mut times = vec![Duration::MAX; emails.len()];
    for _ in 0..4 {
        for (email, time) in emails.iter().zip(&mut times) {
            let began = Instant::now();
            login(app, email, "wrong password").await.problem(401, "invalid_credentials");
            *time = began.elapsed().min(*time);
        }
    }
    let (least, most) = (times.iter().min(), times.iter().max());
    let (least, most) = (*least.expect("times"), *most.expect("times"));
    // Without the further work they differ by a factor of 8 and 64.
    assert!(most < least * 3, "{emails:?}: {times:?}");
    least
}

#[tokio::test]
async fn times_tell_neither_unknown_addresses_nor_old_hashes() {
    let app = TestApp::spawn().await;
    app.user("older").await;
    app.instance_with(|settings| settings.auth.bcrypt_cost = 7).await.user("old").await;
    let dearest = app.instance_with(|settings| settings.auth.bcrypt_cost = 10).await;
    dearest.user("new").await;
    let emails = ["older@example.com", "old@example.com", "new@example.com", "no@example.com"];
    let dear = all_alike(&dearest, &emails).await;
    // After the cost was lowered, hashes of the higher one are still there.
    let lockouts = app.database().await.collection::<Document>("lockouts");
    lockouts.delete_many(doc! {}).await.expect("deleted");
    let cheap = app.instance_with(|settings| settings.auth.bcrypt_cost = 4).await;
    let cheaper = all_alike(&cheap, &emails).await;
    assert!(cheaper > dear / 4, "{cheaper:?}, {dear:?} before");
}

/// A login from an address, as a trusted proxy says.
async fn login_from(app: &TestApp, address: &str, email: &str, password: &str) -> Answer {
    let request = app.request("POST", "/login").header("x-forwarded-for", address);
    let request = request.header("user-agent", "one and the same");
    Answer::of(request.json(&json!({"email": email, "password": password}))).await
}

/// One hashing thread, and work that takes a while.
async fn busy_app() -> TestApp {
    TestApp::with(|settings| {
        settings.auth.bcrypt_cost = 9;
        settings.auth.bcrypt_threads = 1;
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await
}

/// What became of the logins of a storm so far.
#[derive(Default)]
struct Storm {
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Storm {
    /// Logins from ever new addresses, more than can wait; two of them with the owner's e-mail.
    fn begin(self: &Arc<Self>, app: &TestApp, ada: &Actor, count: usize) -> Vec<JoinHandle<()>> {
        let login = |n: usize| {
            let email =
                if n.is_multiple_of(200) { ada.email.clone() } else { format!("x{n}@example.com") };
            let address = format!("10.{}.{}.9", n / 250, n % 250);
            let request = app.request("POST", "/login").header("x-forwarded-for", address);
            let request = request.header("user-agent", "one and the same");
            let body = json!({"email": email, "password": "wrong password"});
            let (this, request) = (self.clone(), request.json(&body));
            tokio::spawn(async move {
                let count = match Answer::of(request).await.status {
                    401 => &this.served,
                    503 => &this.refused,
                    other => panic!("{other}"),
                };
                count.fetch_add(1, Ordering::SeqCst);
            })
        };
        (0..count).map(login).collect()
    }

    /// How many strangers are served while something else is.
    async fn during<T>(&self, other: impl Future<Output = T>) -> (T, usize) {
        let before = self.served.load(Ordering::SeqCst);
        let outcome = other.await;
        (outcome, self.served.load(Ordering::SeqCst) - before)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_from_new_addresses_does_not_keep_known_ones_waiting() {
    let app = busy_app().await;
    let ada = app.user("ada").await;
    // By hand and not by `user`, whose address is none that a proxy has told.
    login_from(&app, "192.0.2.7", &ada.email, &ada.password).await.ok(200);
    login_from(&app, "2001:db8:1:2::7", &ada.email, &ada.password).await.ok(200);
    let storm = Arc::new(Storm::default());
    let logins = storm.begin(&app, &ada, 400);
    while storm.refused.load(Ordering::SeqCst) < 10 {
        sleep(Duration::from_millis(20)).await;
    }
    // From the same networks, also at another address there, and where one is signed in already.
    for address in ["192.0.2.200", "2001:db8:1:ffff::1"] {
        let login = login_from(&app, address, &ada.email, &ada.password);
        let (answer, strangers) = storm.during(login).await;
        answer.ok(200);
        // In their lane it would have been behind all who wait there: 64.
        assert!(strangers < 32, "{address}: {strangers}");
    }
    let change = json!({"current_password": ada.password, "new_password": "another password"});
    let (answer, strangers) = storm.during(ada.put("/password", change)).await;
    answer.ok(204);
    assert!(strangers < 32, "{strangers}");
    for login in logins {
        login.await.expect("a login");
    }
    assert!(storm.refused.load(Ordering::SeqCst) > 100, "there was no storm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_claimed_leads_into_the_lane_of_the_known() {
    let app = busy_app().await;
    let ada = app.user("ada").await;
    login_from(&app, "192.0.2.7", &ada.email, &ada.password).await.ok(200);
    let storm = Arc::new(Storm::default());
    let logins = storm.begin(&app, &ada, 300);
    while storm.refused.load(Ordering::SeqCst) < 10 {
        sleep(Duration::from_millis(20)).await;
    }
    // The right e-mail and user agent from elsewhere; another account's e-mail from a known network.
    // Both wait with the storm, or find its lane full.
    let (elsewhere, another) = tokio::join!(
        storm.during(login_from(&app, "198.51.100.1", &ada.email, "wrong password")),
        storm.during(login_from(&app, "192.0.2.7", "somebody@example.com", "wrong password")),
    );
    for (answer, strangers) in [elsewhere, another] {
        let waited = answer.status == 401 && strangers > 16;
        assert!(waited || answer.status == 503, "{}, {strangers}", answer.text());
    }
    for login in logins {
        login.await.expect("a login");
    }
}

#[tokio::test]
async fn wrong_passwords_from_a_known_network_lock_as_any() {
    let app = busy_app().await;
    let ada = app.user("ada").await;
    login_from(&app, "192.0.2.7", &ada.email, &ada.password).await.ok(200);
    for _ in 0..5 {
        let wrong = login_from(&app, "192.0.2.7", &ada.email, "wrong password").await;
        wrong.problem(401, "invalid_credentials");
    }
    let right = login_from(&app, "192.0.2.7", &ada.email, &ada.password).await;
    right.problem(429, "account_locked");
}

#[tokio::test]
async fn the_latest_eight_networks_are_known_and_no_address_is_kept() {
    let app = busy_app().await;
    let ada = app.user("ada").await;
    for n in 0..10 {
        login_from(&app, &format!("192.0.{n}.1"), &ada.email, &ada.password).await.ok(200);
        login_from(&app, &format!("192.0.{n}.2"), &ada.email, &ada.password).await.ok(200);
    }
    let users = app.database().await.collection::<Document>("users");
    let row = users.find_one(doc! { "username": "ada" }).await.expect("a read").expect("a row");
    let networks = row.get_array("networks").expect("networks");
    assert_eq!(networks.len(), 8);
    assert!(!row.to_string().contains("192.0"), "{row}");
}
