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
                let names = people.gather(actors[n]).await;
                row.perform(COLUMNS[n], row.answers[n], actors[n], &names).await;
            }
        });
        join_all(cells).await;
        app.advance(Duration::from_millis(10));
    }
}
