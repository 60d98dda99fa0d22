//! Request heads of every kind, good and bad: none of them is answered 500, and none ends a
//! connection without a word.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use crate::support::TestApp;
use crate::support::raw::Raw;

const H1: &[u8] = b"http/1.1";

async fn status(app: &TestApp, head: &str) -> (u16, String) {
    let mut raw = Raw::connect(app, H1).await;
    raw.send(head.as_bytes()).await;
    let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {head:?}"));
    (answer.status, answer.body)
}

#[tokio::test]
async fn connect_and_targets_without_a_path_are_not_found() {
    let app = TestApp::with(|settings| {
        settings.admin.addr = Some("127.0.0.1:0".parse().expect("an address"));
    })
    .await;
    for line in ["CONNECT localhost:443", "CONNECT a:1", "GET localhost:443", "GET *", "POST a"] {
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let admin = Raw::plain(app.admin.as_deref().expect("an admin listener")).await;
        for mut raw in [Raw::connect(&app, H1).await, admin] {
            raw.send(head.as_bytes()).await;
            let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {line}"));
            answer.problem(404, "not_found");
        }
    }
    let (all, _) = status(&app, "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(all, 204);
    let (absolute, _) =
        status(&app, "GET https://elsewhere/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(absolute, 200);
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let app = TestApp::spawn().await;
    let get = |version: &str, hosts: &[&str]| {
        let hosts = hosts.iter().fold(String::new(), |all, host| all + "Host: " + host + "\r\n");
        format!("GET /healthz HTTP/{version}\r\n{hosts}\r\n")
    };
    for (version, hosts, expected) in [
        ("1.1", &["localhost"][..], 200),
        ("1.1", &["[::1]:8443"], 200),
        ("1.1", &[], 400),
        ("1.1", &["a", "a"], 400),
        ("1.1", &["a", "b"], 400),
        ("1.1", &["a b"], 400),
        ("1.1", &["a/b"], 400),
        ("1.1", &["user@a"], 400),
        ("1.1", &["a:port"], 400),
        ("1.1", &[""], 400),
        ("1.0", &[], 200),
        ("1.0", &["a"], 200),
        ("1.0", &["a", "b"], 400),
    ] {
        let mut raw = Raw::connect(&app, H1).await;
        raw.send(get(version, hosts).as_bytes()).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, expected, "{version} {hosts:?}");
        if expected == 400 {
            answer.problem(400, "malformed_request");
        }
    }
}

/// Header fields of a request over h2, as literals that are not indexed (RFC 7541, 6.2.2).
fn h2_headers(fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let text = &text.as_bytes()[..text.len().min(126)];
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text);
        }
    }
    let length = u32::try_from(block.len()).expect("short").to_be_bytes();
    [&length[1..], &[1, 5, 0, 0, 0, 1], &block].concat()
}

/// How natter answers over h2: the first byte of the answer's fields, which is the status where it
/// is a usual one (RFC 7541, Appendix A); 0 for a stream or connection that is refused.
async fn h2_status(app: &TestApp, fields: &[(String, String)]) -> Option<u8> {
    let mut raw = Raw::connect(app, b"h2").await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    raw.send(&h2_headers(fields)).await;
    loop {
        let mut rest = raw.unread.as_slice();
        while let [a, b, c, kind, _, stream @ ..] = rest {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            match (*kind, stream.get(4)) {
                (1, Some(first)) => return Some(*first),
                (3 | 7, _) => return Some(0),
                _ => rest = rest.get(9 + length..).unwrap_or_default(),
            }
        }
        if !raw.read(Duration::from_secs(10)).await {
            return None;
        }
    }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn heads_over_h2_are_held_to_the_same_rules() {
    const NOT_FOUND: u8 = 0x8d;
    const BAD: u8 = 0x8c;
    const OK: u8 = 0x88;
    let app = TestApp::spawn().await;
    let (get, https) = ((":method", "GET"), (":scheme", "https"));
    let path = (":path", "/healthz");
    for (sent, expected) in [
        (vec![(":method", "CONNECT"), (":authority", "a:443")], NOT_FOUND),
        (vec![get, https, path, (":authority", "a")], OK),
        (vec![get, https, path, ("host", "a")], OK),
        (vec![get, https, path, (":authority", "a"), ("host", "A")], OK),
        (vec![get, https, path, (":authority", "a"), ("host", "b")], BAD),
        (vec![get, https, path, (":authority", "a"), ("host", "a"), ("host", "a")], BAD),
        (vec![get, https, path], BAD),
        (vec![get, https, path, (":authority", "u@a")], BAD),
        (vec![get, https, (":path", "*"), (":authority", "a")], NOT_FOUND),
        (vec![get, https, (":path", "//"), (":authority", "a")], NOT_FOUND),
    ] {
        assert_eq!(h2_status(&app, &fields(&sent)).await, Some(expected), "{sent:?}");
    }
}

/// One of some texts, or any bytes that fit in a line.
fn text(some: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(some).prop_map(str::to_owned),
        1 => "[ -~]{0,40}",
        1 => "\\PC{0,20}",
    ]
}

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PRI", "get",
    "M-SEARCH", "QUERY", "", "G T", "GET\t",
];
const TARGETS: &[&str] = &[
    "/",
    "*",
    "",
    "//",
    "///",
    "/?",
    "?",
    "/?%",
    "/healthz",
    "/healthz/",
    "/%00",
    "/%ff",
    "/%",
    "/%2",
    "/%2e%2e/",
    "/../..",
    "/users?q=%00",
    "/users?q=%ff%fe",
    "/users?limit=99999999999999999999",
    "/messages/%00",
    "/attachments/ffffffff-ffff-ffff-ffff-ffffffffffff",
    "/ws?since=%00",
    "/events?since=%ff",
    "/sync?since=x&since=y",
    "/profile#x",
    "localhost",
    "localhost:443",
    ":443",
    "[::1]:443",
    "https://a/healthz",
    "https://",
    "http://a",
    "//a/b",
    "ftp://a/b",
    "/healthz?a b",
    "/verify?token=%f0%28%8c%28",
    "/groups/{group_id}",
    "/\\",
    "/..;/",
    "/;a=b",
];
const VERSIONS: &[&str] = &[
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "", "HTTP",
];
const NAMES: &[&str] = &[
    "Host",
    "host",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Connection",
    "Upgrade",
    "Authorization",
    "Content-Type",
    "Accept-Encoding",
    "Range",
    "If-Range",
    "If-None-Match",
    "Last-Event-ID",
    "X-Request-Id",
    "X-Forwarded-For",
    "Forwarded",
    "Origin",
    "TE",
    "Trailer",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Content-Encoding",
    "Cookie",
    "",
    "a b",
];
const VALUES: &[&str] = &[
    "localhost",
    "a",
    "",
    "0",
    "1",
    "-1",
    "+1",
    "18446744073709551616",
    "1, 1",
    "chunked",
    "gzip, chunked",
    "chunked, chunked",
    "identity",
    "100-continue",
    "close",
    "keep-alive, Upgrade",
    "upgrade",
    "websocket",
    "h2c",
    "Bearer",
    "Bearer x",
    "Bearer a.b.c",
    "Basic eDp5",
    "13",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "application/json",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "bytes=0-",
    "bytes=-1",
    "bytes=9-1,2-",
    "\"x\"",
    "*",
    "for=\"[::1]:1\"",
    "for=_x;by=\"",
    "1.2.3.4:5, [::1",
    "https://localhost",
    "GET",
    "br;q=x",
    "trailers",
    "\u{e9}",
    "\u{0}",
    "\t",
];

/// A request as text: its line, its header fields, what ends its lines, and what follows.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = (text(METHODS), text(TARGETS), text(VERSIONS));
    let headers = proptest::collection::vec((text(NAMES), text(VALUES)), 0..8);
    let end = prop_oneof![6 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let body =
        prop_oneof![Just(""), Just("{}"), Just("0\r\n\r\n"), Just("5\r\nhello\r\n0\r\n\r\n")];
    (line, headers, any::<bool>(), end, body).prop_map(|(line, headers, with_host, end, body)| {
        let line = format!("{} {} {}", line.0, line.1, line.2);
        let host = with_host.then(|| "Host: localhost".to_owned());
        let headers = headers.into_iter().map(|(name, value)| format!("{name}: {value}"));
        let lines: Vec<String> = std::iter::once(line).chain(host).chain(headers).collect();
        let head = lines.join(end);
        // The end is one whatever the ends of lines are, so that natter need not wait for it.
        format!("{head}{end}{end}\r\n\r\n{body}").into_bytes()
    })
}

/// The same over h2: pseudo-header fields that may be missing, twice, or malformed.
fn h2_request() -> impl Strategy<Value = Vec<(String, String)>> {
    let pseudo = prop_oneof![
        text(METHODS).prop_map(|value| (":method".to_owned(), value)),
        text(TARGETS).prop_map(|value| (":path".to_owned(), value)),
        text(VALUES).prop_map(|value| (":authority".to_owned(), value)),
        text(&["https", "http", "ftp", ""]).prop_map(|value| (":scheme".to_owned(), value)),
        text(&["websocket", ""]).prop_map(|value| (":protocol".to_owned(), value)),
    ];
    let usual = (text(METHODS), text(TARGETS), text(&["localhost", "a:1", "", "u@a"]));
    let headers = proptest::collection::vec((text(NAMES), text(VALUES)), 0..5);
    let headers = (proptest::collection::vec(pseudo, 0..4), headers);
    (usual, any::<[bool; 3]>(), headers).prop_map(|(usual, with, (more, headers))| {
        let mut fields = vec![(":scheme".to_owned(), "https".to_owned())];
        let usual = [(":method", usual.0), (":path", usual.1), (":authority", usual.2)];
        for ((name, value), with) in usual.into_iter().zip(with) {
            if with {
                fields.push((name.to_owned(), value));
            }
        }
        fields.extend(more);
        fields.extend(headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)));
        fields
    })
}

/// Whatever natter says to these bytes within a moment, and how it ends.
async fn said(app: &TestApp, bytes: &[u8]) -> (String, bool) {
    let mut raw = Raw::connect(app, H1).await;
    raw.send(bytes).await;
    let mut has_ended = false;
    while !raw.unread.ends_with(b"}") && !has_ended {
        let before = raw.unread.len();
        let more = raw.read(Duration::from_millis(if before == 0 { 1000 } else { 20 })).await;
        if !more {
            break;
        }
        has_ended = raw.unread.len() == before;
    }
    (String::from_utf8_lossy(&raw.unread).into_owned(), has_ended)
}

fn runner() -> TestRunner {
    let seeds = FileFailurePersistence::Direct("tests/api/heads.seeds");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    TestRunner::new(Config {
        cases: cases.unwrap_or(150),
        failure_persistence: Some(Box::new(seeds)),
        max_shrink_iters: 200,
        ..Config::default()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

#[test]
fn no_head_is_answered_by_a_panic() {
    let runtime = runtime();
    let app = runtime.block_on(TestApp::spawn());
    let checked = runner().run(&request(), |bytes| {
        let (said, _) = runtime.block_on(said(&app, &bytes));
        let is_fault = said.contains("HTTP/1.1 500") || said.contains("\"internal\"");
        if is_fault { Err(TestCaseError::fail(said)) } else { Ok(()) }
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    let alive = runtime.block_on(app.get("/healthz"));
    assert_eq!(alive.status, 200);
}

#[test]
fn no_head_over_h2_is_answered_by_a_panic() {
    const INTERNAL: u8 = 0x8e;
    let runtime = runtime();
    let app = runtime.block_on(TestApp::spawn());
    let checked = runner().run(&h2_request(), |fields| {
        let status = runtime.block_on(h2_status(&app, &fields));
        prop_assert!(status.is_some(), "the connection ended without a word");
        prop_assert_ne!(status, Some(INTERNAL));
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
    let alive = runtime.block_on(app.get("/healthz"));
    assert_eq!(alive.status, 200);
}
