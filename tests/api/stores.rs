//! What the settings of the stores may be: the whole program, started as an operator starts it.

use std::process::Stdio;

use natter::config::Secret;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::TestApp;
use crate::support::app::{PATIENCE, service};
use crate::support::servers::Server;

/// Starts natter with these settings, which must stop it: the one line that it says then.
async fn refused(settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natter"));
    command.arg("serve").env_clear();
    command.env("NATTER_SERVER__ADDR", "127.0.0.1:0").env("NATTER_LOG__FORMAT", "json");
    command.env("NATTER_MONGODB__URI", service("NATTER_MONGODB__URI"));
    command.envs(settings.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.output()).await.expect("an end").expect("a program");
    let told = String::from_utf8(ended.stderr).expect("text");
    assert!(matches!(ended.status.code(), Some(1 | 2)), "{:?}: {told}", ended.status);
    // The log says what happened before; it is JSON here.
    let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{told}");
    let line = lines[0].strip_prefix("natter: ").expect("the program's name");
    line.strip_prefix("setting ").unwrap_or(line).to_owned()
}

async fn uri_refused(uri: &str) -> String {
    let line = refused(&[("NATTER_MONGODB__URI", uri)]).await;
    assert!(line.starts_with("mongodb.uri: "), "{uri}: {line}");
    assert!(!line.contains("internal"), "{uri}: {line}");
    line
}

#[tokio::test]
async fn a_uri_that_cannot_be_used_stops_the_start_with_its_name() {
    let uri = service("NATTER_MONGODB__URI");
    let with = |option: &str| format!("{uri}{}{option}", if uri.contains('?') { '&' } else { '?' });
    for (uri, word) in [
        (with("frobnicate=yes"), "frobnicate"),
        (with("w=1"), "w must be majority"),
        (with("readConcernLevel=local"), "readConcernLevel"),
        (with("retryWrites=false"), "retryWrites"),
        (with("loadBalanced=true"), "loadBalanced"),
        (with("maxPoolSize=4"), "maxPoolSize"),
        (with("connectTimeoutMS=20000"), "connectTimeoutMS"),
        (with("socketTimeoutMS=20000"), "socketTimeoutMS"),
        (with("compressors=zstd"), "compressors"),
        (with("tlsCAFile=/nonexistent/ca.pem"), ""),
        ("mongodb://ada:p@ss@localhost:27017/".to_owned(), "%40"),
        ("mongodb://ada:pass@localhost/?authMechanism=MONGODB-AWS".to_owned(), "aws-auth"),
        ("mongodb://localhost:port/".to_owned(), "port"),
        ("mongodb+srv://nowhere.invalid/".to_owned(), "DNS"),
        ("mongodb://nowhere.invalid:27017/?replicaSet=rs0".to_owned(), "nowhere.invalid"),
        ("mongodb://127.0.0.1:1/?replicaSet=rs0".to_owned(), "127.0.0.1:1"),
        ("postgres://localhost/".to_owned(), "mongodb://"),
    ] {
        let line = uri_refused(&uri).await;
        assert!(line.contains(word), "{uri}: {line}");
    }
}

#[tokio::test]
async fn the_line_never_shows_the_password() {
    for uri in [
        "mongodb://ada:hunter2@secret@127.0.0.1:1/",
        "mongodb://ada:hunter2/secret@127.0.0.1:1/",
        "mongodb://ada:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=200",
        "mongodb://ada:hunter2%@127.0.0.1:1/",
    ] {
        let line = uri_refused(uri).await;
        assert!(!line.contains("hunter2") && !line.contains("secret"), "{line}");
    }
    for url in ["redis://:hunter2@localhost:6379/0?hunter2=1", "redis://:hunter2@localhost/x"] {
        let line = refused(&[("NATTER_REDIS__URL", url)]).await;
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_single_server_stops_the_start_and_says_what_is_needed() {
    let mongod = Server::single_mongod().await;
    let line = uri_refused(&format!("mongodb://127.0.0.1:{}/", mongod.port())).await;
    assert!(line.contains("a replica set"), "{line}");
}

#[tokio::test]
async fn a_url_of_redis_that_cannot_be_used_stops_the_start_with_its_name() {
    for url in [
        "redis://localhost:6379/messages",
        "redis://localhost:6379/0?timeout=5",
        "rediss://localhost:6379/#insecure",
        "redis://0.0.0.0:6379/",
        "redis+sentinel://localhost:6379/",
        "http://localhost:6379/",
    ] {
        let line = refused(&[("NATTER_REDIS__URL", url)]).await;
        assert!(line.starts_with("redis.url: "), "{url}: {line}");
    }
}

#[tokio::test]
async fn a_read_preference_keeps_nothing_from_being_written() {
    for mode in ["secondary", "secondaryPreferred", "nearest", "primaryPreferred"] {
        let uri = service("NATTER_MONGODB__URI");
        let option = format!("{}readPreference={mode}", if uri.contains('?') { '&' } else { '?' });
        let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri + &option)).await;
        let (ada, bob) = (app.user("ada").await, app.user("bob").await);
        ada.befriend(&bob).await;
        let sent = ada.send(&bob, "hello").await;
        let page = bob.get(&format!("/messages/{}", ada.id)).await.ok(200);
        assert_eq!(page["items"][0]["id"], sent["id"], "{mode}");
        app.get("/readyz").await.ok(200);
    }
}
