//! That memory stays flat whatever clients send: measured on a process of its own, so that what
//! other tests and the clients themselves use is not counted.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::future::join_all;
use futures_util::stream;
use reqwest::Body;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::noise;
use crate::support::{Answer, TestApp};

const CLIENTS: usize = 50;

/// KiB that a process may need for so many uploads at once, however often they come again: the h2
/// window, a few chunks and TLS buffers each, not the 6 MiB that each sends.
const MOST: usize = 3 * 1024 * CLIENTS;

/// An instance of the real program on the stores of `app`, and where it listens. Its certificate
/// is [`certificate`].
pub async fn instance(app: &TestApp) -> (Child, String) {
    let settings = app.settings();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (cert, key) = (certificate(app), app.mail_dir().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_natter"))
        .arg("serve")
        .env("NATTER_SERVER__ADDR", "127.0.0.1:0")
        .env("NATTER_MONGODB__DATABASE", &settings.mongodb.database)
        .env("NATTER_REDIS__PREFIX", &settings.redis.prefix)
        .env("NATTER_SERVER__TLS_CERT", cert)
        .env("NATTER_SERVER__TLS_KEY", key)
        .env("NATTER_LIMITS__UPLOAD", "off")
        .env("NATTER_LIMITS__READ", "off")
        .env("NATTER_LOG__FORMAT", "json")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("natter starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let addr = loop {
        let line = lines.next_line().await.expect("a line").expect("natter listens");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if line["event"] == "listening" {
            break line["addr"].as_str().expect("an address").to_owned();
        }
    };
    // Read on, or the program waits for its log to be taken.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, format!("https://{addr}"))
}

/// The file of an instance's certificate.
pub fn certificate(app: &TestApp) -> PathBuf {
    app.mail_dir().join("cert.pem")
}

/// The most memory that a process has had, in KiB.
pub fn peak(child: &Child) -> usize {
    let path = format!("/proc/{}/status", child.id().expect("it runs"));
    let status = std::fs::read_to_string(path).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn many_who_send_too_much_do_not_fill_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let (child, url) = instance(&app).await;
    let piece = bytes::Bytes::from(noise(64 * 1024));
    let flood = async |path: &str, begin: &'static str, megabytes: usize| {
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let pieces = std::iter::once(begin.into());
        let pieces = pieces.chain(std::iter::repeat_n(piece.clone(), megabytes * 16));
        let body = Body::wrap_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)));
        let request = http.build().expect("a client").post(format!("{url}{path}"));
        let request = request.header("content-type", "multipart/form-data; boundary=x");
        Answer::of(request.bearer_auth(&alice.token).body(body)).await
    };
    let file = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    flood("/attachments", file, 6).await.problem(413, "payload_too_large");
    let before = peak(&child);
    // In the file, in a field, read or not, and where no part ever begins.
    let field = "--x\r\ncontent-disposition: form-data; name=\"message\"\r\n\r\n";
    for (path, begin) in [
        ("/attachments", file),
        ("/attachments", field),
        ("/attachments", "--x\r\na: "),
        ("/messages", file),
        ("/messages", field),
    ] {
        let answers = join_all((0..CLIENTS).map(|_| flood(path, begin, 6))).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 400 | 413)));
        let grown = peak(&child) - before;
        assert!(grown < MOST, "{path}: {grown} KiB");
    }
}
