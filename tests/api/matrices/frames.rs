//! Who hears of what happens in a group: every event, and everyone there is.

use std::collections::BTreeSet;
use std::fmt::Write;

use futures_util::future::join_all;
use serde_json::Value;

use super::scene::People;
use super::{Names, filled};
use crate::support::socket::Socket;
use crate::support::{Actor, Answer, TestApp};

pub(super) const COLUMNS: [&str; 6] = super::visibility::COLUMNS;

/// A row: something that happens in a group.
pub(super) struct Row {
    /// In words.
    what: &'static str,
    /// Who does it: `other`, who wrote the message, or `owner`.
    who: &'static str,
    /// How: methods and paths with placeholders.
    asks: &'static [&'static str],
    /// The JSON body of each; empty where there is none.
    body: &'static str,
    /// The frames that each column gets, `–` where there are none.
    frames: [&'static str; 6],
}

const NONE: &str = "–";

const fn row(
    what: &'static str,
    who: &'static str,
    asks: &'static [&'static str],
    body: &'static str,
    frames: [&'static str; 6],
) -> Row {
    Row { what, who, asks, body, frames }
}

/// For members of every role, and for nobody else.
const fn members(frames: &'static str) -> [&'static str; 6] {
    [NONE, NONE, frames, frames, frames, frames]
}

pub(super) const ROWS: &[Row] = &[
    row(
        "a message",
        "other",
        &["POST /messages"],
        r#"{"group_id": "<group>", "message": "hi"}"#,
        members("message.created"),
    ),
    row(
        "a message that mentions a member",
        "other",
        &["POST /messages"],
        r#"{"group_id": "<group>", "message": "hi @the-member"}"#,
        [
            NONE,
            NONE,
            "message.created",
            "message.created, notification.created",
            "message.created",
            "message.created",
        ],
    ),
    row(
        "a message that mentions the blocked member",
        "other",
        &["POST /messages"],
        r#"{"group_id": "<group>", "message": "hi @the-blocked"}"#,
        members("message.created"),
    ),
    row(
        "an edited message",
        "other",
        &["PATCH /conversations/<group>/messages/<message>"],
        r#"{"message": "other"}"#,
        members("message.updated"),
    ),
    row(
        "a deleted message",
        "other",
        &["DELETE /conversations/<group>/messages/<message>"],
        "",
        members("message.deleted"),
    ),
    row(
        "a reaction, and taking it back",
        "other",
        &[
            "PUT /conversations/<group>/messages/<message>/reactions/%F0%9F%91%8D",
            "DELETE /conversations/<group>/messages/<message>/reactions/%F0%9F%91%8D",
        ],
        "",
        members("reaction.added, reaction.removed"),
    ),
    row(
        "a pinned message, and taking it down",
        "other",
        &[
            "PUT /conversations/<group>/messages/<message>/pin",
            "DELETE /conversations/<group>/messages/<message>/pin",
        ],
        "",
        members("message.updated, message.updated"),
    ),
    row(
        "reading",
        "owner",
        &["POST /conversations/<group>/read"],
        r#"{"message_id": "<message>"}"#,
        members("conversation.read"),
    ),
    row(
        "muting, for oneself",
        "owner",
        &["PUT /conversations/<group>/mute"],
        r#"{"muted_until": "2100-01-01T00:00:00.000Z"}"#,
        [NONE, NONE, NONE, NONE, NONE, "conversation.muted"],
    ),
    row(
        "another name",
        "owner",
        &["PUT /groups/<group>"],
        r#"{"group_name": "new"}"#,
        members("group.updated"),
    ),
    row(
        "a new member",
        "owner",
        &["POST /groups/<group>/add"],
        r#"{"user_id": "<newcomer>"}"#,
        members("group.member_added"),
    ),
    row(
        "another role",
        "owner",
        &["PUT /groups/<group>/members/<other>"],
        r#"{"role": "admin"}"#,
        members("group.member_updated"),
    ),
    row(
        "a removed member",
        "owner",
        &["POST /groups/<group>/remove"],
        r#"{"user_id": "<other>"}"#,
        members("group.member_removed"),
    ),
    row(
        "a member who leaves",
        "other",
        &["POST /groups/<group>/leave"],
        "",
        members("group.member_removed"),
    ),
    row("the end of the group", "owner", &["DELETE /groups/<group>"], "", members("group.deleted")),
];

impl Row {
    async fn perform(&self, actor: &Actor, names: &Names) {
        for ask in self.asks {
            let (verb, path) = ask.split_once(' ').expect("a method and a path");
            let request = actor.request(verb, &filled(path, names));
            let request = match self.body {
                "" => request,
                body => request
                    .json(&serde_json::from_str::<Value>(&filled(body, names)).expect("JSON")),
            };
            let answer = Answer::of(request).await;
            assert!(answer.status < 300, "{}: {}", self.what, answer.text());
        }
    }
}

/// As Markdown.
pub(super) fn printed() -> String {
    let mut text = format!("| | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(6));
    for row in ROWS {
        let cells = row.frames.map(|frames| match frames {
            NONE => NONE.to_owned(),
            frames => {
                let each: Vec<String> = frames.split(", ").map(|it| format!("`{it}`")).collect();
                each.join(", ")
            }
        });
        writeln!(text, "| {} | {} |", row.what, cells.join(" | ")).expect("written");
    }
    text
}

/// A device of someone in the table.
struct Device<'a> {
    actor: &'a Actor,
    socket: Socket,
}

impl Device<'_> {
    /// What was told of the group up to now, in a word for each frame.
    async fn told(&mut self, group: &str) -> String {
        let mark = self.actor.send(self.actor, "up to here").await;
        let frames = self.socket.frames_until(|frame| frame["data"]["id"] == mark["id"]).await;
        let (_, before) = frames.split_last().expect("frames");
        let of_group = before.iter().filter(|frame| frame["data"].to_string().contains(group));
        let kinds: Vec<&str> = of_group.filter_map(|frame| frame["type"].as_str()).collect();
        if kinds.is_empty() { NONE.to_owned() } else { kinds.join(", ") }
    }
}

#[tokio::test]
async fn everyone_hears_what_the_table_says() {
    let app = TestApp::spawn().await;
    let people = People::of(&app).await;
    let People { outsider, removed, blocked, member, admin, owner, other, .. } = &people;
    let actors: [&Actor; 6] = [outsider, removed, blocked, member, admin, owner];
    let devices = actors.map(|actor| async move { Device { actor, socket: actor.socket().await } });
    let mut devices = join_all(devices).await;
    for row in ROWS {
        let actor = if row.who == "owner" { owner } else { other };
        let names = people.gather(actor).await;
        for device in &mut devices {
            device.told(&names["group"]).await;
        }
        row.perform(actor, &names).await;
        for (n, device) in devices.iter_mut().enumerate() {
            let told = device.told(&names["group"]).await;
            assert_eq!(told, row.frames[n], "{}: {}", COLUMNS[n], row.what);
        }
    }
}

#[test]
fn no_event_of_a_group_escapes_the_table() {
    let told: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|row| row.frames)
        .flat_map(|frames| frames.split(", "))
        .filter(|frame| *frame != NONE)
        .collect();
    let document = include_str!("../../../docs/api.md");
    let events: BTreeSet<&str> = document
        .split('`')
        .filter(|word| {
            let starts = ["message.", "reaction.", "conversation.", "group."];
            let named = word.split_once('.').is_some_and(|(_, rest)| {
                !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
            });
            named && starts.iter().any(|start| word.starts_with(start))
        })
        .collect();
    // Who makes a group begins with nobody in it to hear of it; delivery is a client's word.
    let missing: Vec<&&str> = events
        .difference(&told)
        .filter(|it| !["group.created", "conversation.delivered"].contains(it))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
