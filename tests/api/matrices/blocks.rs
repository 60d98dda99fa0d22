//! What a block stops between two, and what goes on.

use futures_util::future::join_all;
use serde_json::json;

use super::{Names, Row, row};
use crate::support::{Actor, TestApp};

pub(super) const COLUMNS: [&str; 5] =
    ["no block", "who blocks", "who is blocked", "both have blocked", "unblocked again"];

const NO: &str = "403 recipient_unavailable";

/// What a block stops, from whichever side it comes.
const fn stopped(answer: &'static str) -> [&'static str; 5] {
    [answer, NO, NO, NO, answer]
}

/// What a block hides from either side.
const fn stopped_shown() -> [&'static str; 5] {
    ["shown", "hidden", "hidden", "hidden", "shown"]
}

/// What there was before the block, if there is one, and is not there after it.
const fn ended(before: &'static str, gone: &'static str) -> [&'static str; 5] {
    [before, gone, gone, gone, gone]
}

pub(super) const ROWS: &[Row<5>] = &[
    row(
        "ask to be friends",
        "POST /friends/add",
        r#"{"friend_user_id": "<peer>"}"#,
        stopped("201"),
    ),
    row(
        "accept an earlier request",
        "POST /friends/accept",
        r#"{"friend_user_id": "<asker>"}"#,
        ["200", NO, NO, NO, "404"],
    ),
    row(
        "decline an earlier request",
        "POST /friends/decline",
        r#"{"friend_user_id": "<asker>"}"#,
        ended("200", "404"),
    ),
    row(
        "end an earlier friendship",
        "POST /friends/remove",
        r#"{"friend_user_id": "<friend>"}"#,
        ended("200", "404"),
    ),
    row("find an earlier friend", "GET /friends", "", ended("shown", "hidden")),
    row("find an earlier request", "GET /friends?status=incoming", "", ended("shown", "hidden")),
    row(
        "write",
        "POST /messages",
        r#"{"recipient_user_id": "<peer>", "message": "hi"}"#,
        stopped("201"),
    ),
    row(
        "edit what one wrote",
        "PATCH /conversations/<conversation>/messages/<mine>",
        r#"{"message": "other"}"#,
        stopped("200"),
    ),
    row(
        "delete what one wrote",
        "DELETE /conversations/<conversation>/messages/<mine>",
        "",
        ["204"; 5],
    ),
    row(
        "react",
        "PUT /conversations/<conversation>/messages/<message>/reactions/%F0%9F%91%8D",
        "",
        stopped("200"),
    ),
    row(
        "take a reaction back",
        "DELETE /conversations/<conversation>/messages/<message>/reactions/%F0%9F%91%8D",
        "",
        ["200"; 5],
    ),
    row("pin", "PUT /conversations/<conversation>/messages/<message>/pin", "", stopped("200")),
    row("unpin", "DELETE /conversations/<conversation>/messages/<message>/pin", "", ["200"; 5]),
    row("see the conversation", "GET /conversations/<conversation>", "", ["200"; 5]),
    row("find it in the inbox", "GET /conversations", "", ["shown"; 5]),
    row("see a message", "GET /conversations/<conversation>/messages/<message>", "", ["200"; 5]),
    row("read what was written", "GET /messages/<peer>", "", ["shown"; 5]),
    row("read the conversation", "GET /conversations/<conversation>/messages", "", ["shown"; 5]),
    row(
        "mark as read",
        "POST /conversations/<conversation>/read",
        r#"{"message_id": "<message>"}"#,
        ["200"; 5],
    ),
    row(
        "see that the other has read since",
        "GET /conversations/<conversation>/messages/<mine>",
        "",
        stopped_shown(),
    ),
    row(
        "see when the other has read since",
        "GET /conversations/<conversation>/messages/<mine>/receipts",
        "",
        stopped_shown(),
    ),
    row(
        "see that the other has read since, in a common group",
        "GET /conversations/<common>/messages/<grouped>/receipts",
        "",
        ["shown"; 5],
    ),
    row(
        "be told of what was written before",
        "GET /notifications",
        "",
        ["shown", "hidden", "shown", "hidden", "hidden"],
    ),
    row(
        "add the other to a group",
        "POST /groups/<own>/add",
        r#"{"user_id": "<peer>"}"#,
        stopped("201"),
    ),
    row(
        "make a group with the other",
        "POST /groups",
        r#"{"group_name": "new", "members": ["<peer>"]}"#,
        stopped("201"),
    ),
    row(
        "mention the other in a common group",
        "POST /messages",
        r#"{"group_id": "<common>", "message": "hi @<name>"}"#,
        ["mentioned", "unmentioned", "unmentioned", "unmentioned", "mentioned"],
    ),
    row(
        "write in a common group",
        "POST /messages",
        r#"{"group_id": "<common>", "message": "hi"}"#,
        ["201"; 5],
    ),
    row("read in a common group", "GET /conversations/<common>/messages", "", ["shown"; 5]),
    row("see the other's profile", "GET /users/<peer>", "", ["200"; 5]),
    row("find the other by name", "GET /users?q=<name>", "", ["shown"; 5]),
    row(
        "find the other in one's blocks",
        "GET /blocks",
        "",
        ["hidden", "shown", "hidden", "shown", "hidden"],
    ),
    row("block", "POST /blocks", r#"{"user_id": "<peer>"}"#, ["201"; 5]),
    row("unblock", "DELETE /blocks/<peer>", "", ["204"; 5]),
];

impl Row<5> {
    /// Whether the other reads everything once the blocks are made.
    fn reads_first(&self) -> bool {
        self.what.contains("has read since")
    }
}

/// Two people in one column of the table.
struct Pair {
    me: Actor,
    peer: Actor,
    /// A group that both are in.
    common: String,
}

impl Pair {
    async fn of(app: &TestApp, n: usize) -> Self {
        let (me, peer) = (app.user(&format!("me{n}")).await, app.user(&format!("peer{n}")).await);
        let common = me.group("common", std::slice::from_ref(&peer)).await;
        peer.tell(&common, "hello").await;
        Self { me, peer, common }
    }

    /// Ends whatever there is between the two, and lets something new be there.
    async fn prepare(&self, row: &Row<5>) -> Names {
        let Self { me, peer, common } = self;
        for (one, other) in [(me, peer), (peer, me)] {
            one.delete(&format!("/blocks/{}", other.id)).await.ok(204);
            one.post("/friends/remove", json!({"friend_user_id": other.id})).await;
        }
        let is_of = |what: &str| row.what.contains(what);
        if is_of("friend") && is_of("earlier") {
            me.befriend(peer).await;
        } else if is_of("request") {
            let asked = json!({"friend_user_id": me.id});
            peer.post("/friends/add", asked).await.ok(201);
        }
        let message = peer.send(me, "hello").await;
        let mine = me.send(peer, "hello").await["id"].clone();
        let text = |field: &str| message[field].as_str().expect("an id").to_owned();
        // In the common group the other has written, too.
        let marker = if row.ask.starts_with("GET /notifications") {
            text("conversation_id")
        } else if row.reads_first() {
            r#""status":"read""#.to_owned()
        } else {
            peer.id.clone()
        };
        let grouped = me.tell(common, "hello").await["id"].clone();
        Names::from([
            ("marker", marker),
            ("grouped", grouped.as_str().expect("an id").to_owned()),
            ("peer", peer.id.clone()),
            ("asker", peer.id.clone()),
            ("friend", peer.id.clone()),
            ("name", peer.name.clone()),
            ("message", text("id")),
            ("mine", mine.as_str().expect("an id").to_owned()),
            ("conversation", text("conversation_id")),
            ("common", common.clone()),
            ("own", me.group("own", &[]).await),
        ])
    }

    /// Makes the blocks of a column.
    async fn block(&self, column: &str) {
        let Self { me, peer, .. } = self;
        let block = async |one: &Actor, other: &Actor| {
            one.post("/blocks", json!({"user_id": other.id})).await.ok(201);
        };
        if ["who blocks", "both have blocked", "unblocked again"].contains(&column) {
            block(me, peer).await;
        }
        if ["who is blocked", "both have blocked"].contains(&column) {
            block(peer, me).await;
        }
        if column == "unblocked again" {
            me.delete(&format!("/blocks/{}", peer.id)).await.ok(204);
        }
    }
}

#[tokio::test]
async fn a_block_stops_what_the_table_says() {
    let app = TestApp::spawn().await;
    let columns = (0..5).map(|n| {
        let app = &app;
        async move {
            let pair = Pair::of(app, n).await;
            for row in ROWS {
                let names = pair.prepare(row).await;
                pair.block(COLUMNS[n]).await;
                if row.reads_first() {
                    for (conversation, message) in [("conversation", "mine"), ("common", "grouped")]
                    {
                        let path = format!("/conversations/{}/read", names[conversation]);
                        let read = json!({"message_id": names[message]});
                        pair.peer.post(&path, read).await.ok(200);
                    }
                }
                row.perform(COLUMNS[n], row.answers[n], &pair.me, &names).await;
            }
        }
    });
    join_all(columns).await;
}
