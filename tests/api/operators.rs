//! What operators meet: a log that nobody reads, users with few rights, authorities of their own,
//! and `natter check`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::doc;
use natter::config::Secret;
use natter::internals::Mailer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::support::app::{PATIENCE, client, settings_with};
use crate::support::instance::environment;
use crate::support::servers::Server;
use crate::support::smtp::{Inbox, reserve, serve_tls};
use crate::support::{Actor, TestApp};

/// What `docs/operations.md` shows after a mark.
fn documented(mark: &str) -> &'static str {
    let text = include_str!("../../docs/operations.md");
    let (_, rest) = text.split_once(&format!("<!-- {mark} -->\n```")).expect("the mark");
    let (block, _) = rest.split_once("```").expect("the end of a block");
    block.split_once('\n').expect("a block").1.trim()
}

/// The program with the settings of a test's instances.
pub fn program(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natter"));
    command.args(arguments).env_clear().envs(environment(app)).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What `natter check` prints with these settings besides, and whether it succeeds.
async fn check(app: &TestApp, set: &[&str]) -> (String, bool) {
    let arguments: Vec<&str> =
        ["check"].into_iter().chain(set.iter().flat_map(|set| ["--set", *set])).collect();
    let output = timeout(PATIENCE, program(app, &arguments).output()).await;
    let output = output.expect("an end in time").expect("the program");
    (String::from_utf8(output.stdout).expect("a text"), output.status.success())
}

/// Expects a line of this level about something, which says this.
fn says(printed: &str, level: &str, what: &str, text: &str) {
    let begin = format!("{level:<4}  {what:<20}  ");
    let found = printed.lines().any(|line| line.starts_with(&begin) && line.contains(text));
    assert!(found, "{level} {what} {text}:\n{printed}");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told from start to end")]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let app = TestApp::spawn().await;
    let mut child = program(&app, &["serve"]).stdout(Stdio::null()).spawn().expect("the program");
    let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
    let port = async {
        while let Ok(Some(line)) = log.next_line().await {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "listening" {
                let addr = event["addr"].as_str().unwrap_or_default().to_owned();
                return addr.rsplit(':').next().map(str::to_owned);
            }
        }
        None
    };
    let port = timeout(PATIENCE, port).await.expect("a start in time").expect("a port");
    let (http, url) = (client(), format!("https://localhost:{port}"));
    for _ in 0..200 {
        let asked = (0..50).map(|_| http.get(format!("{url}/nowhere")).send());
        for answer in join_all(asked).await {
            assert_eq!(answer.expect("an answer").status(), 404);
        }
    }
    let alive = timeout(Duration::from_secs(2), http.get(format!("{url}/healthz")).send()).await;
    assert_eq!(alive.expect("an answer in time").expect("an answer").status(), 200);
    let reading = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Ok(Some(line)) = log.next_line().await {
            lines.push(serde_json::from_str::<Value>(&line).expect("a whole line"));
        }
        lines
    });
    sleep(Duration::from_millis(500)).await;
    http.get(format!("{url}/nowhere")).header("x-request-id", "last").send().await.expect("sent");
    let id = child.id().expect("a running process").to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().expect("k").success());
    let ended = timeout(PATIENCE, child.wait()).await.expect("an end in time");
    assert!(ended.expect("a status").success());
    let lines = reading.await.expect("all lines");
    let dropped: u64 = lines
        .iter()
        .filter(|line| line["event"] == "log_lines_dropped")
        .map(|line| line["lines"].as_u64().expect("a number"))
        .sum();
    let requests = lines.iter().filter(|line| line["event"] == "request").count() as u64;
    assert!(dropped > 0);
    assert!(requests + dropped >= 10_002, "a line is neither there nor counted");
    assert!(lines.iter().any(|line| line["request_id"] == "last"));
    assert_eq!(lines.last().expect("lines")["event"], "shutdown_finished");
}

/// Makes a Redis user with these rules; its URL.
async fn redis_user(redis: &Server, rules: &str) -> Secret {
    let client = redis::Client::open(redis.url("redis")).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("natter").arg("reset").arg("on").arg(">secret-word");
    for rule in rules.split_whitespace() {
        command.arg(rule);
    }
    let () = command.query_async(&mut connection).await.expect("a user");
    Secret::new(format!("redis://natter:secret-word@127.0.0.1:{}", redis.port()))
}

/// Expects that what one sends comes to the other's socket.
async fn real_time_works(app: &TestApp) {
    let (alice, bob): (Actor, Actor) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    alice.send(&bob, "hello").await;
    socket.expect("message.created").await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told from start to end")]
async fn redis_rights_that_are_missing_are_named() {
    let redis = Server::redis().await;
    let rules = "~p:* &p:* +@all -@dangerous -@admin";
    let url = redis_user(&redis, rules).await;
    // Each has keys of its own: they are instances of two services.
    let with = |url: Secret, prefix: &'static str| {
        move |settings: &mut natter::config::Settings| {
            settings.redis.url = url;
            settings.redis.prefix = prefix.to_owned();
        }
    };
    // Without INFO all works.
    let app = TestApp::with(with(url, "p:")).await;
    real_time_works(&app).await;
    let (printed, fine) = check(&app, &[]).await;
    assert!(fine, "{printed}");
    says(&printed, "warn", "redis.rights", "+info");
    assert!(!printed.contains("secret-word"), "{printed}");
    let ready = |app: &TestApp| app.http().get(format!("{}/readyz", app.url)).send();
    let answer: Value = ready(&app).await.expect("sent").json().await.expect("JSON");
    assert_eq!(answer, json!({"status": "ok", "mongodb": "ok", "redis": "ok"}));
    // With what the documentation says, too.
    let acl = documented("acl").replace("natter:*", "r:*");
    let acl = acl.split_once(">PASSWORD").expect("a password").1.to_owned();
    let app = TestApp::with(with(redis_user(&redis, &acl).await, "r:")).await;
    real_time_works(&app).await;
    let (printed, fine) = check(&app, &[]).await;
    assert!(fine, "{printed}");
    says(&printed, "ok", "redis.rights", "may do all");
    // Without others it is said what is missing.
    for (less, named) in [
        ("-eval", "+eval"),
        ("-subscribe", "+subscribe"),
        ("-script|load", "+script|load"),
        ("-zadd", "+zadd"),
        ("resetkeys ~q:*", "~r:*"),
        ("resetchannels", "&r:*"),
    ] {
        let url = redis_user(&redis, &format!("{acl} {less}")).await;
        let app = TestApp::with(with(url, "r:")).await;
        let (printed, fine) = check(&app, &[]).await;
        assert!(!fine, "{printed}");
        says(&printed, "fail", "redis.rights", named);
        let answer: Value = ready(&app).await.expect("sent").json().await.expect("JSON");
        assert_eq!(answer, json!({"status": "degraded", "mongodb": "ok", "redis": "down"}));
    }
}

#[tokio::test]
async fn the_documented_role_is_all_that_natter_needs_of_mongodb() {
    let server = Server::guarded_mongod().await;
    let uri = |user: &str| {
        format!("mongodb://{user}:{user}@127.0.0.1:{}/?replicaSet=rs0&authSource=", server.port())
    };
    let root = mongodb::Client::with_uri_str(uri("root") + "admin").await.expect("a client");
    let database = root.database("natter");
    let role: Value = serde_json::from_str(documented("role")).expect("JSON");
    let role = mongodb::bson::serialize_to_document(&role).expect("a command");
    database.run_command(role).await.expect("a role");
    let user = doc! { "createUser": "natter", "pwd": "natter", "roles": ["natter"] };
    database.run_command(user).await.expect("a user");
    let uri = Secret::new(uri("natter") + "natter");
    let app = TestApp::with(|settings| {
        settings.mongodb.uri = uri;
        settings.mongodb.database = "natter".to_owned();
    })
    .await;
    real_time_works(&app).await;
    let (printed, fine) = check(&app, &[]).await;
    assert!(fine, "{printed}");
    says(&printed, "ok", "mongodb.rights", "may do all");
    for action in ["changeStream", "remove", "update", "collMod"] {
        let privilege = doc! {
            "resource": { "db": "natter", "collection": "" }, "actions": [action],
        };
        let revoke = doc! { "revokePrivilegesFromRole": "natter", "privileges": [privilege] };
        database.run_command(revoke).await.expect("revoked");
        let (printed, fine) = check(&app, &[]).await;
        assert!(!fine, "{printed}");
        says(&printed, "fail", "mongodb.rights", action);
    }
}

/// Certificates of an authority of one's own, as files.
struct Private {
    directory: PathBuf,
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Private {
    fn new() -> Self {
        let name = format!("natter-ca-{}", natter::internals::domain::UserId::random());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(authority, key);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names).expect("names").signed_by(&own, &issuer);
        let private = Self { directory };
        for (name, pem) in [
            ("ca.pem", root.pem()),
            ("cert.pem", leaf.expect("a certificate").pem()),
            ("key.pem", own.serialize_pem()),
        ] {
            std::fs::write(private.path(name), pem).expect("written");
        }
        private
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let cert = CertificateDer::from_pem_file(self.path("cert.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).expect("a key");
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert], key).expect("a pair")))
    }
}

fn named(setting: &str, path: &Path) -> String {
    format!("{setting}={}", path.display())
}

#[tokio::test]
async fn redis_with_a_certificate_of_a_private_authority() {
    let (app, own) = (TestApp::spawn().await, Private::new());
    let redis = Server::redis_with_tls(&own.path("cert.pem"), &own.path("key.pem")).await;
    let url = format!("redis.url=rediss://localhost:{}", redis.port());
    let (printed, fine) = check(&app, &[&url]).await;
    assert!(!fine, "{printed}");
    says(&printed, "fail", "redis", "");
    let stranger = Private::new();
    let (printed, fine) =
        check(&app, &[&url, &named("redis.tls_ca", &stranger.path("ca.pem"))]).await;
    assert!(!fine, "{printed}");
    let ca = named("redis.tls_ca", &own.path("ca.pem"));
    let (printed, fine) = check(&app, &[&url, &ca]).await;
    assert!(fine, "{printed}");
    says(&printed, "ok", "redis", "TLS");
    let settings = settings_with(&[
        ("redis.url", url[10..].to_owned()),
        ("redis.tls_ca", ca[13..].to_owned()),
    ]);
    let app = TestApp::with(|it| it.redis = settings.redis).await;
    real_time_works(&app).await;
}

#[tokio::test]
async fn mail_servers_with_a_certificate_of_a_private_authority() {
    let (own, stranger) = (Private::new(), Private::new());
    for (scheme, query, starts) in [("smtps", "", false), ("smtp", "?tls=required", true)] {
        let (socket, addr) = reserve();
        let server = serve_tls(socket, &Inbox::default(), own.acceptor(), starts);
        let mailer = |ca: Option<PathBuf>| {
            let url = format!("{scheme}://localhost:{}{query}", addr.port());
            let mut set = vec![("mail.url", url)];
            set.extend(ca.map(|ca| ("mail.tls_ca", ca.display().to_string())));
            Mailer::new(&settings_with(&set).mail).expect("a mailer")
        };
        assert!(mailer(None).probe().await.is_err(), "{scheme}");
        assert!(mailer(Some(stranger.path("ca.pem"))).probe().await.is_err(), "{scheme}");
        mailer(Some(own.path("ca.pem"))).probe().await.expect("a trusted server");
        server.abort();
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_stops_the_start() {
    let (app, own) = (TestApp::spawn().await, Private::new());
    std::fs::write(own.path("empty.pem"), "nothing").expect("written");
    for (setting, file) in [
        ("redis.tls_ca", "nowhere.pem"),
        ("redis.tls_ca", "empty.pem"),
        ("mail.tls_ca", "nowhere.pem"),
        ("mail.tls_ca", "key.pem"),
    ] {
        let set = named(setting, &own.path(file));
        let arguments = ["serve", "--set", "redis.url=rediss://localhost", "--set", &set];
        let output = program(&app, &arguments).output().await.expect("the program");
        let line = String::from_utf8(output.stderr).expect("a text");
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains(setting) && line.lines().count() == 1, "{line}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told from start to end")]
async fn check_says_a_line_about_everything_and_leaves_nothing() {
    let app = TestApp::spawn().await;
    let (printed, fine) = check(&app, &["mail.url=log:"]).await;
    assert!(fine, "{printed}");
    for (what, text) in [
        ("settings", "valid"),
        ("server.tls_cert", "self-signed"),
        ("server.addr", "free"),
        ("mongodb", "replica set"),
        ("mongodb.clock", "this machine's clock"),
        ("mongodb.rights", "may do all"),
        ("mongodb.transactions", "work"),
        ("mongodb.indexes", "as defined"),
        ("redis", "Redis"),
        ("redis.rights", "may do all"),
        ("redis.clock", "this machine's clock"),
        ("mail.url", "log"),
    ] {
        says(&printed, "ok", what, text);
    }
    assert!(printed.contains("mongodb.oplog"), "{printed}");
    let names = app.database().await.list_collection_names().await.expect("names");
    assert!(names.iter().all(|name| !name.starts_with("check")), "{names:?}");
    // What does not work is named, and the rest is looked at all the same.
    let (printed, fine) = check(
        &app,
        &[
            "mongodb.uri=mongodb://u:secret-word@127.0.0.1:1/?serverSelectionTimeoutMS=500",
            "redis.url=redis://:secret-word@127.0.0.1:1",
            "mail.url=smtp://u:secret-word@127.0.0.1:1",
            "server.addr=192.0.2.1:1",
        ],
    )
    .await;
    assert!(!fine, "{printed}");
    for what in ["server.addr", "mongodb", "redis", "mail.url"] {
        says(&printed, "fail", what, "");
    }
    assert!(!printed.contains("secret-word"), "{printed}");
    let own = Private::new();
    let (cert, key) = (
        named("server.tls_cert", &own.path("cert.pem")),
        named("server.tls_key", &own.path("key.pem")),
    );
    let (printed, fine) = check(&app, &[&cert, &key]).await;
    assert!(fine, "{printed}");
    says(&printed, "ok", "server.tls_cert", "fits");
    says(&printed, "ok", "server.public_url", "localhost");
    let key = named("server.tls_key", &Private::new().path("key.pem"));
    let (printed, fine) = check(&app, &[&cert, &key]).await;
    assert!(!fine, "{printed}");
    says(&printed, "fail", "server.tls_cert", "");
}
