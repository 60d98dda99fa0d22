//! What owner, admins and members may do in their group.

use std::time::Duration;

use futures_util::future::join_all;

use super::scene::People;
use super::{Row, row};
use crate::support::{Actor, TestApp};

pub(super) const COLUMNS: [&str; 3] = ["owner", "admin", "member"];

const NO: &str = "403 forbidden";

pub(super) const ROWS: &[Row<3>] = &[
    row("see the group", "GET /groups/<group>", "", ["200", "200", "200"]),
    row("read", "GET /conversations/<group>/messages", "", ["200", "200", "200"]),
    row(
        "write",
        "POST /messages",
        r#"{"group_id": "<group>", "message": "hi"}"#,
        ["201", "201", "201"],
    ),
    row(
        "edit one's own message",
        "PATCH /conversations/<group>/messages/<mine>",
        r#"{"message": "other"}"#,
        ["200", "200", "200"],
    ),
    row(
        "edit another's message",
        "PATCH /conversations/<group>/messages/<message>",
        r#"{"message": "other"}"#,
        [NO, NO, NO],
    ),
    row(
        "delete one's own message",
        "DELETE /conversations/<group>/messages/<mine>",
        "",
        ["204", "204", "204"],
    ),
    row(
        "delete a member's message",
        "DELETE /conversations/<group>/messages/<message>",
        "",
        ["204", "204", NO],
    ),
    row("pin", "PUT /conversations/<group>/messages/<message>/pin", "", ["200", "200", "200"]),
    row(
        "react",
        "PUT /conversations/<group>/messages/<message>/reactions/%F0%9F%91%8D",
        "",
        ["200", "200", "200"],
    ),
    row("change the name", "PUT /groups/<group>", r#"{"group_name": "new"}"#, ["200", "200", NO]),
    row(
        "take the picture away",
        "PUT /groups/<group>",
        r#"{"group_picture": null}"#,
        ["200", "200", NO],
    ),
    row(
        "add someone",
        "POST /groups/<group>/add",
        r#"{"user_id": "<newcomer>"}"#,
        ["201", "201", NO],
    ),
    row(
        "remove a member",
        "POST /groups/<group>/remove",
        r#"{"user_id": "<other>"}"#,
        ["200", "200", NO],
    ),
    row(
        "remove an admin",
        "POST /groups/<group>/remove",
        r#"{"user_id": "<rival>"}"#,
        ["200", NO, NO],
    ),
    row(
        "remove the owner (for the owner, leaving)",
        "POST /groups/<group>/remove",
        r#"{"user_id": "<owner>"}"#,
        ["200", NO, NO],
    ),
    row("leave", "POST /groups/<group>/leave", "", ["200", "200", "200"]),
    row(
        "make a member an admin",
        "PUT /groups/<group>/members/<other>",
        r#"{"role": "admin"}"#,
        ["200", NO, NO],
    ),
    row(
        "make an admin a member",
        "PUT /groups/<group>/members/<rival>",
        r#"{"role": "member"}"#,
        ["200", NO, NO],
    ),
    row(
        "make a member the owner",
        "PUT /groups/<group>/members/<other>",
        r#"{"role": "owner"}"#,
        ["200", NO, NO],
    ),
    row(
        "make oneself the owner",
        "PUT /groups/<group>/members/<self>",
        r#"{"role": "owner"}"#,
        ["200", NO, NO],
    ),
    row(
        "make oneself a member",
        "PUT /groups/<group>/members/<self>",
        r#"{"role": "member"}"#,
        ["422 validation_failed", NO, NO],
    ),
    row("end the group", "DELETE /groups/<group>", "", ["204", NO, NO]),
];

#[tokio::test]
async fn roles_may_do_what_the_table_says() {
    let app = TestApp::spawn().await;
    let people = People::of(&app).await;
    let actors: [&Actor; 3] = [&people.owner, &people.admin, &people.member];
    for row in ROWS {
        let cells = (0..3).map(|n| {
            let people = &people;
            async move {
                let mut names = people.gather(actors[n]).await;
                let own = actors[n].tell(&names["group"], "mine").await;
                names.insert("mine", own["id"].as_str().expect("an id").to_owned());
                row.perform(COLUMNS[n], row.answers[n], actors[n], &names).await;
            }
        });
        join_all(cells).await;
        app.advance(Duration::from_millis(10));
    }
}
