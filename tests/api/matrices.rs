//! Who may do what: tables whose every cell is performed against the service, and which
//! `docs/permissions.md` prints. After a wanted change of a table:
//! `UPDATE_DOCS=1 make test ARGS='--test api matrices'`.

mod blocks;
mod frames;
mod roles;
mod scene;
mod visibility;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use natter::internals::filters::Endpoint;
use serde_json::Value;

use crate::support::{Actor, Answer};

/// What the placeholders in requests stand for.
type Names = HashMap<&'static str, String>;

/// A row: something that one may want to do, and what each column is answered.
struct Row<const N: usize> {
    /// In words.
    what: &'static str,
    /// How: method and path, `<name>` standing for what the scene has of this name.
    ask: &'static str,
    /// The JSON body with the same placeholders; empty where there is none.
    body: &'static str,
    /// A status; a status with the code of a problem; of a list, `shown` or `hidden`; of a new
    /// message, `mentioned` or `unmentioned`.
    answers: [&'static str; N],
}

/// A row of a table.
const fn row<const N: usize>(
    what: &'static str,
    ask: &'static str,
    body: &'static str,
    answers: [&'static str; N],
) -> Row<N> {
    Row { what, ask, body, answers }
}

/// A text with its placeholders filled.
fn filled(template: &str, names: &Names) -> String {
    let mut text = template.to_owned();
    for (name, value) in names {
        text = text.replace(&format!("<{name}>"), value);
    }
    assert!(!text.contains('<'), "unknown placeholder: {text}");
    text
}

impl<const N: usize> Row<N> {
    /// The row of the route table that this asks.
    fn endpoint(&self) -> Endpoint {
        let (verb, path) = self.ask.split_once(' ').expect("a method and a path");
        let path = path.split('?').next().unwrap_or(path);
        let fits = |row: &Endpoint| {
            let (there, here) = (row.path.split('/'), path.split('/'));
            there.clone().count() == here.clone().count()
                && there
                    .zip(here)
                    .all(|(t, h)| t == h || (t.starts_with('{') && h.starts_with(['<', '%'])))
        };
        let table = natter::internals::table().into_iter();
        let mut found = table.filter(|row| row.verb.as_str() == verb && fits(row));
        found.next().unwrap_or_else(|| panic!("no such route: {}", self.ask))
    }

    /// Does it, and expects what the table says of this column.
    async fn perform(&self, column: &str, expected: &str, actor: &Actor, names: &Names) {
        let what = format!("{column}: {}", self.what);
        let (verb, path) = self.ask.split_once(' ').expect("a method and a path");
        let request = actor.request(verb, &filled(path, names));
        let request = match self.body {
            "" => request,
            body => {
                let body: Value = serde_json::from_str(&filled(body, names)).expect("JSON");
                request.json(&body)
            }
        };
        let answer = Answer::of(request).await;
        let text = answer.text();
        match expected.split_once(' ') {
            None if ["shown", "hidden"].contains(&expected) => {
                assert_eq!(answer.status, 200, "{what}: {text}");
                let shown = text.contains(&names["marker"]);
                assert_eq!(shown, expected == "shown", "{what}: {text}");
            }
            None if ["mentioned", "unmentioned"].contains(&expected) => {
                assert_eq!(answer.status, 201, "{what}: {text}");
                let mentions = answer.json()["mentions"].as_array().map(Vec::len);
                assert_eq!(mentions, Some(usize::from(expected == "mentioned")), "{what}: {text}");
            }
            None => assert_eq!(answer.status.to_string(), expected, "{what}: {text}"),
            Some((status, code)) => {
                assert_eq!(answer.status.to_string(), status, "{what}: {text}");
                assert_eq!(answer.json()["code"], code, "{what}: {text}");
            }
        }
    }
}

/// A table as Markdown.
fn printed<const N: usize>(columns: &[&str; N], rows: &[Row<N>]) -> String {
    let mut text =
        format!("| | route | {} |\n|---|---|{}\n", columns.join(" | "), "---|".repeat(N));
    for row in rows {
        let endpoint = row.endpoint();
        let route = format!("{} {}", endpoint.verb.as_str(), endpoint.path);
        let answers = row.answers.map(|answer| match answer.split_once(' ') {
            Some((status, code)) => format!("{status} `{code}`"),
            None => answer.to_owned(),
        });
        let (what, answers) = (row.what, answers.join(" | "));
        writeln!(text, "| {what} | `{route}` | {answers} |").expect("written");
    }
    text
}

/// The document with one section's table, between its markers, replaced.
fn with_section(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {name}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{name} has no end"));
    format!("{before}{begin}\n{table}\n{end}{after}")
}

#[test]
fn the_document_prints_these_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md");
    let stored = std::fs::read_to_string(path).expect("a document");
    let sections = [
        ("roles", printed(&roles::COLUMNS, roles::ROWS)),
        ("visibility", printed(&visibility::COLUMNS, visibility::ROWS)),
        ("blocks", printed(&blocks::COLUMNS, blocks::ROWS)),
        ("frames", frames::printed()),
    ];
    let current = sections
        .iter()
        .fold(stored.clone(), |document, (name, table)| with_section(&document, name, table));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, current).expect("written");
    } else {
        assert_eq!(stored, current, "UPDATE_DOCS=1 make test ARGS='--test api matrices'");
    }
}

/// Beginnings of routes that show or change nothing of a conversation, whoever asks.
const ELSEWHERE: [&str; 21] = [
    "/.well-known/",
    "/asyncapi.json",
    "/blocks",
    "/docs",
    "/email/undo",
    "/friends",
    "/healthz",
    "/login",
    "/logout",
    "/openapi.json",
    "/password",
    "/readyz",
    "/sessions",
    "/signup",
    "/token/",
    "/users",
    "/verify",
    "/profile",
    // Their frames have a table of their own.
    "/events",
    "/sync",
    "/ws",
];

#[test]
fn no_route_escapes_the_visibility_table() {
    let label = |row: &Endpoint| format!("{} {}", row.verb.as_str(), row.path);
    let covered: BTreeSet<String> =
        visibility::ROWS.iter().map(|row| label(&row.endpoint())).collect();
    let concerned = natter::internals::table().into_iter().filter(|row| {
        let elsewhere = ELSEWHERE.iter().any(|start| row.path.starts_with(start));
        // A new file is nobody's but its uploader's; what sockets show, the tests of real time say.
        !elsewhere && !["POST /attachments", "GET /ws"].contains(&label(row).as_str())
    });
    let missing: Vec<String> =
        concerned.map(|row| label(&row)).filter(|l| !covered.contains(l)).collect();
    assert_eq!(missing, [""; 0], "tests/api/matrices/visibility.rs");
}
