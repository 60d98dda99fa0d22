//! A running natter: real TLS on a free port, a database and a key prefix of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use natter::app::App;
use natter::config::Settings;
use natter::internals::domain::{Clock, random_bytes};
use natter::internals::{Drain, Shutdown};
use reqwest::Method;

use super::actor::{Actor, Answer};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What all instances of one test share; the database goes with the last of them.
struct World {
    settings: Settings,
    clock: Clock,
    mail: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.mail);
        let (uri, name) =
            (self.settings.mongodb.uri.expose().to_owned(), self.settings.mongodb.database.clone());
        drop_database(uri, name);
    }
}

/// Drops a test's database.
pub fn drop_database(uri: String, name: String) {
    // A thread and a runtime of its own: the test's runtime may be ending right now.
    let dropped = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let client = mongodb::Client::with_uri_str(uri).await.expect("a client");
            let drop = client.database(&name);
            let _ = tokio::time::timeout(PATIENCE, async { drop.drop().await }).await;
        });
    });
    let _ = dropped.join();
}

/// One instance and the way to it.
pub struct TestApp {
    world: Arc<World>,
    /// `https://localhost:port`.
    pub url: String,
    /// `http://127.0.0.1:port` of the admin listener, where the settings ask for one.
    pub admin: Option<String>,
    /// Stops it.
    pub shutdown: Shutdown,
    http: reqwest::Client,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}

/// An HTTP client with connections of its own.
pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    builder.timeout(PATIENCE).build().expect("a client")
}

/// Where the services are: `make test` says so.
pub fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}

impl TestApp {
    /// An instance with a store of its own, no rate limits, and a clock that the test moves.
    pub async fn spawn() -> Self {
        Self::with(|_| {}).await
    }

    /// As [`TestApp::spawn`], with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let name = format!("natter-test-{}", u64::from_be_bytes(random_bytes()));
        let mail = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&mail).expect("a directory for mails");
        let mut set = vec![
            ("server.addr", "127.0.0.1:0".to_owned()),
            ("mongodb.uri", service("NATTER_MONGODB__URI")),
            ("mongodb.database", name.clone()),
            ("redis.url", service("NATTER_REDIS__URL")),
            ("redis.prefix", format!("{name}:")),
            ("auth.bcrypt_cost", "4".to_owned()),
            ("mail.url", format!("file://{}", mail.display())),
        ];
        set.extend(["auth", "read", "write", "upload", "search", "socket"].map(limit_off));
        let mut settings = settings_with(&set);
        change(&mut settings);
        let own = settings.clone();
        let world = World { settings, clock: Clock::manual(), mail };
        Self::start(Arc::new(world), own).await
    }

    /// Another instance on the same stores, with the same clock.
    pub async fn second_instance(&self) -> Self {
        self.instance_with(|_| {}).await
    }

    /// As [`TestApp::second_instance`], with other settings.
    pub async fn instance_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.world.settings.clone();
        change(&mut settings);
        Self::start(self.world.clone(), settings).await
    }

    async fn start(world: Arc<World>, settings: Settings) -> Self {
        let drain = Drain {
            delay: world.settings.server.drain_delay_seconds,
            limit: world.settings.server.drain_seconds,
        };
        let shutdown = Shutdown::new(drain);
        if std::env::var_os("NATTER_TEST_LOG").is_some() {
            natter::telemetry::subscribe(&settings.log);
        }
        // Boxed, to keep the futures of long tests small.
        let app = Box::pin(App::build(settings, world.clock.clone(), shutdown.clone())).await;
        let app = app.unwrap_or_else(|error| panic!("natter does not start: {error}"));
        let port = app.listeners().https.local_addr().expect("a bound port").port();
        let admin = app
            .listeners()
            .admin
            .as_ref()
            .map(|admin| format!("http://{}", admin.local_addr().expect("a bound port")));
        tokio::spawn(app.run());
        let url = format!("https://localhost:{port}");
        Self { world, url, admin, shutdown, http: client() }
    }

    /// Moves the clock of every instance of this test.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(by);
    }

    /// Sets the clock of every instance of this test back.
    pub fn set_back(&self, by: Duration) {
        self.world.clock.set_back(by);
    }

    /// The present moment of this test.
    pub fn clock(&self) -> &Clock {
        &self.world.clock
    }

    /// The directory that mails are written to.
    pub fn mail_dir(&self) -> &std::path::Path {
        &self.world.mail
    }

    /// The settings that the instances run with.
    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// The test's own way into the database, to look at what is stored.
    pub async fn database(&self) -> mongodb::Database {
        let uri = self.world.settings.mongodb.uri.expose();
        let client = mongodb::Client::with_uri_str(uri).await.expect("a client");
        client.database(&self.world.settings.mongodb.database)
    }

    /// Waits for the first run of a periodic job, and keeps it from running again: the test does its
    /// work when it says so.
    pub async fn pause(&self, kind: &str) {
        let jobs = self.database().await.collection::<Document>("jobs");
        let now = mongodb::bson::DateTime::from_millis(self.clock().now().millis());
        let rests = doc! { "kind": kind, "state": "waiting", "due_at": { "$gt": now } };
        let never = mongodb::bson::DateTime::from_millis(253_402_300_799_999);
        let pause = doc! { "$set": { "state": "scheduled", "due_at": never } };
        let pausing = async {
            while jobs.update_one(rests.clone(), pause.clone()).await.expect("u").matched_count < 1
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, pausing).await.expect("a rest in time");
    }

    /// A request to be changed and then sent.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// GET by nobody.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    /// POST by nobody.
    pub async fn post(&self, path: &str, body: serde_json::Value) -> Answer {
        Answer::of(self.request("POST", path).json(&body)).await
    }

    /// Signs up, and waits for nothing.
    pub async fn sign_up(&self, name: &str) -> serde_json::Value {
        let (email, password) = (format!("{name}@example.com"), format!("{name}-password"));
        let input = serde_json::json!({"username": name, "email": email, "password": password});
        self.post("/signup", input).await.ok(201)
    }

    /// Someone who has signed up, was verified and signed in.
    pub async fn user(&self, name: &str) -> Actor {
        self.sign_up(name).await;
        let (email, password) = (format!("{name}@example.com"), format!("{name}-password"));
        let token = self.mail(&email, 1).await.token();
        self.post("/verify", serde_json::json!({"token": token})).await.ok(200);
        self.login(&email, &password).await
    }

    /// Someone who signs in, from one more device.
    pub async fn login(&self, email: &str, password: &str) -> Actor {
        let input = serde_json::json!({"email": email, "password": password});
        Actor::new(self, email, password, &self.post("/login", input).await.ok(200))
    }

    /// The same person, talking to this instance.
    pub fn seen_by(&self, actor: &Actor) -> Actor {
        actor.through(self.http.clone(), self.url.clone())
    }

    /// The HTTP client of this instance's actors.
    pub fn http(&self) -> reqwest::Client {
        self.http.clone()
    }
}

fn limit_off(class: &'static str) -> (&'static str, String) {
    let name = match class {
        "auth" => "limits.auth",
        "read" => "limits.read",
        "write" => "limits.write",
        "upload" => "limits.upload",
        "search" => "limits.search",
        _ => "limits.socket",
    };
    (name, "off".to_owned())
}

/// Settings over the defaults, in the words of the settings file.
pub fn settings_with(set: &[(&str, String)]) -> Settings {
    let options = natter::config::LoadOptions {
        set: set.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        ..Default::default()
    };
    Settings::load(&options).unwrap_or_else(|error| panic!("{error}"))
}
