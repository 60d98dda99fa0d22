//! Who sees what of a group: every route that concerns one, asked by everyone there is.

use std::time::Duration;

use futures_util::future::join_all;

use super::scene::People;
use super::{Row, row};
use crate::support::{Actor, TestApp};

pub(super) const COLUMNS: [&str; 6] =
    ["outsider", "removed", "blocked member", "member", "admin", "owner"];

const NO: &str = "403 forbidden";

/// For members of every role, and for nobody else.
const fn members(answer: &'static str) -> [&'static str; 6] {
    ["404", "404", answer, answer, answer, answer]
}

/// A list that everyone has, and in which members find it.
const LISTED: [&str; 6] = ["hidden", "hidden", "shown", "shown", "shown", "shown"];

pub(super) const ROWS: &[Row<6>] = &[
    row("list one's groups", "GET /groups?limit=100", "", LISTED),
    row("see the group", "GET /groups/<group>", "", members("200")),
    row(
        "change the group",
        "PUT /groups/<group>",
        r#"{"group_name": "new"}"#,
        ["404", "404", NO, NO, "200", "200"],
    ),
    row(
        "add someone",
        "POST /groups/<group>/add",
        r#"{"user_id": "<newcomer>"}"#,
        ["404", "404", NO, NO, "201", "201"],
    ),
    row(
        "come back by oneself",
        "POST /groups/<group>/add",
        r#"{"user_id": "<self>"}"#,
        ["404", "404", NO, NO, "409 already_member", "409 already_member"],
    ),
    row(
        "remove a member",
        "POST /groups/<group>/remove",
        r#"{"user_id": "<other>"}"#,
        ["404", "404", NO, NO, "200", "200"],
    ),
    row("leave", "POST /groups/<group>/leave", "", members("200")),
    row(
        "give a role",
        "PUT /groups/<group>/members/<other>",
        r#"{"role": "admin"}"#,
        ["404", "404", NO, NO, NO, "200"],
    ),
    row("end the group", "DELETE /groups/<group>", "", ["404", "404", NO, NO, NO, "204"]),
    row(
        "make a group with the author",
        "POST /groups",
        r#"{"group_name": "new", "members": ["<other>"]}"#,
        ["201", "201", "403 recipient_unavailable", "201", "201", "201"],
    ),
    row("write", "POST /messages", r#"{"group_id": "<group>", "message": "hi"}"#, members("201")),
    row(
        "reply",
        "POST /messages",
        r#"{"group_id": "<group>", "message": "hi", "reply_to": "<message>"}"#,
        members("201"),
    ),
    row("read", "GET /conversations/<group>/messages", "", members("200")),
    row(
        "read what is older",
        "GET /conversations/<group>/messages?before=<message>",
        "",
        members("200"),
    ),
    row("find it in the history with the author", "GET /messages/<other>", "", ["hidden"; 6]),
    row(
        "mark as read",
        "POST /conversations/<group>/read",
        r#"{"message_id": "<message>"}"#,
        members("200"),
    ),
    row("find it in the inbox", "GET /conversations?limit=100", "", LISTED),
    row("see the conversation", "GET /conversations/<group>", "", members("200")),
    row("mute", "PUT /conversations/<group>/mute", r#"{"muted_until": null}"#, members("200")),
    row(
        "read around a message",
        "GET /conversations/<group>/messages?around=<message>",
        "",
        members("200"),
    ),
    row("see a message", "GET /conversations/<group>/messages/<message>", "", members("200")),
    row(
        "edit another's message",
        "PATCH /conversations/<group>/messages/<message>",
        r#"{"message": "other"}"#,
        members(NO),
    ),
    row(
        "delete another's message",
        "DELETE /conversations/<group>/messages/<message>",
        "",
        ["404", "404", NO, NO, "204", "204"],
    ),
    row(
        "react",
        "PUT /conversations/<group>/messages/<message>/reactions/%F0%9F%91%8D",
        "",
        members("200"),
    ),
    row(
        "take a reaction back",
        "DELETE /conversations/<group>/messages/<message>/reactions/%F0%9F%91%8D",
        "",
        members("200"),
    ),
    row("pin", "PUT /conversations/<group>/messages/<message>/pin", "", members("200")),
    row("unpin", "DELETE /conversations/<group>/messages/<message>/pin", "", members("200")),
    row(
        "see who has read it",
        "GET /conversations/<group>/messages/<message>/receipts",
        "",
        members("200"),
    ),
    row(
        "search the conversation",
        "GET /search/messages?q=lunch&conversation_id=<group>",
        "",
        members("200"),
    ),
    row("get an attached file", "GET /attachments/<file>", "", members("200")),
    row("see its thumbnail", "GET /attachments/<file>/thumbnail", "", members("200")),
    row("find it in one's notifications", "GET /notifications?limit=100", "", LISTED),
    row(
        "mark one's notifications as read",
        "POST /notifications/read",
        r#"{"all": true}"#,
        ["200"; 6],
    ),
];

#[tokio::test]
async fn everyone_sees_what_the_table_says() {
    let app = TestApp::spawn().await;
    let people = People::of(&app).await;
    let People { outsider, removed, blocked, member, admin, owner, .. } = &people;
    let actors: [&Actor; 6] = [outsider, removed, blocked, member, admin, owner];
    for row in ROWS {
        let cells = (0..6).map(|n| {
            let people = &people;
            async move {
                let names = people.gather(actors[n]).await;
                row.perform(COLUMNS[n], row.answers[n], actors[n], &names).await;
            }
        });
        join_all(cells).await;
        app.advance(Duration::from_millis(10));
    }
}
