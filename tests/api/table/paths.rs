//! Paths and methods: what the table has, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use natter::internals::domain::UserId;
use natter::internals::filters::Endpoint;

use super::{filled, label, refused, with_parameters};
use crate::support::{Answer, TestApp};

/// The methods that a client may try.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_405_with_allow() {
    let app = TestApp::spawn().await;
    let mut paths: BTreeMap<String, (Endpoint, BTreeSet<&str>)> = BTreeMap::new();
    for row in natter::internals::table() {
        // Rows on one path may name its parameters differently.
        let shape = with_parameters(&row, |_| "*".to_owned());
        let taken = &mut paths.entry(shape).or_insert_with(|| (row, BTreeSet::new())).1;
        taken.insert(row.verb.as_str());
    }
    for (shape, (row, taken)) in paths {
        let order = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let mut allow: Vec<&str> = order.into_iter().filter(|verb| taken.contains(verb)).collect();
        if taken.contains("GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        let (allow, path) = (allow.join(", "), filled(&row));
        let options = Answer::of(app.request("OPTIONS", &path)).await;
        assert_eq!((options.status, options.header("allow")), (204, allow.as_str()), "{shape}");
        for method in METHODS.into_iter().filter(|method| !taken.contains(method)) {
            let what = format!("{method} {shape}");
            let answer = refused(app.request(method, &path), 405, "method_not_allowed", &what);
            assert_eq!(answer.await.header("allow"), allow, "{what}");
        }
        if !taken.contains("GET") {
            assert_eq!(Answer::of(app.request("HEAD", &path)).await.status, 405, "HEAD {shape}");
        }
    }
}

/// Ways to write a path that are not its own.
fn spellings(path: &str) -> Vec<String> {
    let (_, first) = path.split_at(1);
    let escaped = format!("/%{:02X}{}", first.as_bytes()[0], &first[1..]);
    let mut upper = path.to_owned();
    upper[1..2].make_ascii_uppercase();
    let mut spellings =
        vec![format!("{path}/"), format!("/{path}"), format!("{path}//"), escaped, upper];
    spellings
        .extend(["%00", "%20", "%2F", ";x", ".", "%3Flimit=1"].map(|it| format!("{path}{it}")));
    if let Some((head, tail)) = first.split_once('/') {
        spellings.extend([format!("/{head}//{tail}"), format!("/{head}%2F{tail}")]);
    }
    spellings.retain(|spelling| spelling != path);
    spellings
}

#[tokio::test]
async fn other_paths_and_malformed_ids_are_404() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let id = UserId::random().to_string();
    let malformed = [
        "x".to_owned(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("{id}%00"),
        "%7B%22$ne%22:null%7D".to_owned(),
        "00000000000000000000000g".to_owned(),
    ];
    for row in natter::internals::table() {
        let (verb, what) = (row.verb.as_str(), label(&row));
        let mut paths = spellings(&filled(&row));
        if row.path.contains('{') {
            let bad = malformed.iter().filter(|bad| **bad != id);
            paths.extend(bad.map(|bad| with_parameters(&row, |_| bad.clone())));
        }
        // An emoji may be any text: what is none is refused later, by its name.
        if row.path.ends_with("{emoji}") {
            paths.retain(|path| !path.contains("%8D") || path.ends_with('/'));
        }
        for path in paths {
            let what = format!("{what}: {path}");
            let answer = refused(ada.request(verb, &path), 404, "not_found", &what);
            assert!(answer.await.headers.get("ratelimit").is_none(), "{what}");
        }
    }
    refused(ada.request("GET", "/"), 404, "not_found", "/").await;
}
