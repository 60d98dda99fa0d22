//! Every query that any route issues, and those of the tasks behind them: found by the cluster key
//! or an index, and reading no more than it shows, changes, and a little. A route that is not
//! walked here fails the test, so that no query escapes it.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use futures_util::stream;
use futures_util::stream::StreamExt;
use mongodb::bson::{Document, doc};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

/// How many documents or keys a query may read beside what it shows or changes: the caller's
/// groups, deletions past a mark, and the ends of ranges.
const BESIDE: i64 = 12;

/// A walk over routes, which remembers where it was.
struct Walk<'a> {
    app: &'a TestApp,
    walked: BTreeSet<String>,
}

impl Walk<'_> {
    /// Asks by a row of the table, its parameters filled in order, perhaps with a query.
    async fn ask(&mut self, by: &Actor, route: &str, with: &[&str], body: Value) -> Value {
        let (verb, rest) = route.split_once(' ').expect("a method");
        let (template, query) = rest.split_once('?').unwrap_or((rest, ""));
        self.walked.insert(format!("{verb} {template}"));
        let mut with = with.iter();
        let segments = template.split('/').map(|segment| {
            if segment.starts_with('{') { *with.next().expect("a parameter") } else { segment }
        });
        let mut path = segments.collect::<Vec<&str>>().join("/");
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let mut request = by.request(verb, &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = Answer::of(request).await;
        assert!(answer.status < 300, "{route}: {} {}", answer.status, answer.text());
        if answer.header("content-type") == "application/json" {
            answer.json()
        } else {
            Value::Null
        }
    }

    /// Walks a list to its end in small pages.
    async fn list(&mut self, by: &Actor, route: &str, with: &[&str]) {
        let sign = if route.contains('?') { '&' } else { '?' };
        let first = format!("{route}{sign}limit=2");
        let mut page = self.ask(by, &first, with, Value::Null).await;
        for _ in 0..3 {
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            page = self.ask(by, &format!("{first}&cursor={cursor}"), with, Value::Null).await;
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// What makes a whole collection larger than what any request needs of it.
async fn crowd(app: &TestApp) -> Vec<Actor> {
    let names: Vec<String> = (0..24).map(|n| format!("person{n}")).collect();
    let people: Vec<Actor> = stream::iter(&names).then(|name| app.user(name)).collect().await;
    let alice = &people[0];
    for other in &people[1..20] {
        alice.befriend(other).await;
        alice.send(other, "hello there").await;
        other.send(alice, "hello back").await;
    }
    for n in 0..40 {
        alice.send(&people[1], &format!("number {n}")).await;
    }
    for other in &people[2..5] {
        let group = alice.group("many", &people[1..20]).await;
        other.tell(&group, "welcome @person0").await;
    }
    people
}

#[tokio::test]
async fn no_route_reads_more_than_it_shows() {
    let app = TestApp::spawn().await;
    let people = crowd(&app).await;
    let database = app.database().await;
    database.run_command(doc! { "profile": 2 }).await.expect("the profiler is on");
    let mut walk = Walk { app: &app, walked: BTreeSet::new() };
    let before = people[0].socket().await.ready;
    accounts(&mut walk, &people).await;
    friends(&mut walk, &people).await;
    messages(&mut walk, &people).await;
    groups(&mut walk, &people).await;
    lists(&mut walk, &people).await;
    sockets(&mut walk, &people, text(&before["last_event_id"])).await;
    leave(&mut walk, &people).await;
    database.run_command(doc! { "profile": 0 }).await.expect("the profiler is off");
    let table = natter::internals::table();
    let there: BTreeSet<String> =
        table.iter().map(|row| format!("{} {}", row.verb.as_str(), row.path)).collect();
    assert_eq!(walk.walked, there, "routes whose queries nobody has looked at");
    let rows = database.collection::<Document>("system.profile");
    let planned = doc! { "planSummary": { "$exists": true }, "op": { "$ne": "getmore" } };
    let all = rows.find(planned).await.expect("a cursor");
    let all: Vec<Document> = all.try_collect().await.expect("all of it");
    assert!(all.len() > 300, "{}", all.len());
    let too_much: Vec<String> = all.iter().filter_map(too_much).collect();
    assert_eq!(too_much, Vec::<String>::new());
}

/// What is wrong with how a query was answered; `None` where nothing is.
fn too_much(query: &Document) -> Option<String> {
    let command = query.get("command").map(ToString::to_string).unwrap_or_default();
    // The stream of ended sessions follows the log of changes, not a collection.
    if command.contains("$changeStream") {
        return None;
    }
    let plan = query.get_str("planSummary").unwrap_or_default();
    let number = |name| i64::from(query.get_i32(name).unwrap_or(0));
    let shown = ["nreturned", "nMatched", "ndeleted"].map(number).into_iter().sum::<i64>();
    let read = number("docsExamined").max(number("keysExamined") / 3);
    // One key past the one that is asked for, of each look-up in a clustered collection.
    let look_ups = i64::try_from(command.matches("$unionWith").count()).unwrap_or(0);
    // A count shows one number, and reads what it counts.
    let is_count = command.contains("$group");
    let fits = is_count || read <= shown + look_ups + BESIDE;
    (plan.contains("COLLSCAN") || !fits)
        .then(|| format!("{plan}: {read} read for {shown}: {}", &command[..command.len().min(600)]))
}

async fn accounts(walk: &mut Walk<'_>, people: &[Actor]) {
    let (app, bob) = (walk.app, &people[21]);
    let input = json!({"username": "newcomer", "email": "new@example.com", "password": "12345678"});
    walk.ask(bob, "POST /signup", &[], input).await;
    walk.ask(bob, "POST /verify/resend", &[], json!({"email": "new@example.com"})).await;
    walk.ask(bob, "GET /verify?token=x", &[], Value::Null).await;
    let token = app.mail("new@example.com", 1).await.token();
    walk.ask(bob, "POST /verify", &[], json!({"token": token})).await;
    let login = json!({"email": "new@example.com", "password": "12345678"});
    let session = walk.ask(bob, "POST /login", &[], login.clone()).await;
    let refresh = json!({"refresh_token": session["refresh_token"]});
    walk.ask(bob, "POST /token/refresh", &[], refresh).await;
    passwords(walk, bob).await;
    sessions(walk, people).await;
}

async fn passwords(walk: &mut Walk<'_>, bob: &Actor) {
    let app = walk.app;
    let new = app.login("new@example.com", "12345678").await;
    let password = json!({"current_password": "12345678", "new_password": "87654321"});
    walk.ask(&new, "PUT /password", &[], password).await;
    walk.ask(bob, "POST /password/forgot", &[], json!({"email": "new@example.com"})).await;
    walk.ask(bob, "GET /password/reset?token=x", &[], Value::Null).await;
    let mut mails = 2;
    let token = loop {
        let mail = app.mail("new@example.com", mails).await;
        if mail.raw.contains("/password/reset") {
            break mail.token();
        }
        mails += 1;
    };
    let reset = json!({"token": token, "password": "12345678"});
    walk.ask(bob, "POST /password/reset", &[], reset.clone()).await;

    let new = app.login("new@example.com", "12345678").await;
    walk.ask(&new, "PUT /profile", &[], json!({"email": "newer@example.com"})).await;
    walk.ask(bob, "GET /email/undo?token=x", &[], Value::Null).await;
    let token = app.mail_about("new@example.com", "Another e-mail", 1).await.token();
    walk.ask(bob, "POST /email/undo", &[], json!({"token": token})).await;
    walk.ask(bob, "POST /password/forgot", &[], json!({"email": "new@example.com"})).await;
    let token = app.mail_about("new@example.com", "Choose a new", 2).await.token();
    let reset = json!({"token": token, "password": "12345678"});
    walk.ask(bob, "POST /password/reset", &[], reset).await;
}

async fn sessions(walk: &mut Walk<'_>, people: &[Actor]) {
    let app = walk.app;
    let new = app.login("new@example.com", "12345678").await;
    app.login("new@example.com", "12345678").await;
    walk.list(&new, "GET /sessions", &[]).await;
    let sessions = walk.ask(&new, "GET /sessions", &[], Value::Null).await;
    let others = sessions["items"].as_array().expect("items").iter();
    let other = others.filter(|it| it["current"] == false).map(|it| text(&it["id"])).next();
    let other = other.expect("another session");
    walk.ask(&new, "DELETE /sessions/{session_id}", &[other], Value::Null).await;
    walk.ask(&new, "DELETE /sessions", &[], Value::Null).await;
    walk.ask(&new, "GET /profile", &[], Value::Null).await;
    walk.ask(&new, "PUT /profile", &[], json!({"username": "renamed"})).await;
    walk.ask(&people[0], "GET /profile/export", &[], Value::Null).await;
    walk.list(&new, "GET /users?q=person", &[]).await;
    walk.ask(&new, "GET /users/{user_id}", &[&people[3].id], Value::Null).await;
    walk.ask(&new, "POST /logout", &[], Value::Null).await;
}

async fn friends(walk: &mut Walk<'_>, people: &[Actor]) {
    let (alice, bob) = (&people[0], &people[21]);
    let (to_alice, to_bob) =
        (json!({"friend_user_id": alice.id}), json!({"friend_user_id": bob.id}));
    walk.ask(alice, "POST /friends/add", &[], to_bob.clone()).await;
    walk.ask(bob, "POST /friends/decline", &[], to_alice.clone()).await;
    walk.ask(alice, "POST /friends/add", &[], to_bob.clone()).await;
    walk.ask(bob, "POST /friends/accept", &[], to_alice).await;
    walk.ask(alice, "POST /friends/remove", &[], to_bob).await;
    for status in ["accepted", "incoming", "outgoing"] {
        walk.list(alice, &format!("GET /friends?status={status}"), &[]).await;
    }
    for other in &people[21..24] {
        walk.ask(alice, "POST /blocks", &[], json!({"user_id": other.id})).await;
    }
    walk.list(alice, "GET /blocks", &[]).await;
    for other in &people[21..24] {
        walk.ask(alice, "DELETE /blocks/{user_id}", &[&other.id], Value::Null).await;
    }
}

const MESSAGE: &str = "/conversations/{conversation_id}/messages/{message_id}";

async fn messages(walk: &mut Walk<'_>, people: &[Actor]) {
    let (alice, bob) = (&people[0], &people[1]);
    let form = Form::new().part("file", Part::bytes(picture()).file_name("dot.png"));
    walk.walked.insert("POST /attachments".to_owned());
    let file = Answer::of(alice.request("POST", "/attachments").multipart(form)).await.ok(201);
    let file = text(&file["id"]);
    let body = json!({"recipient_user_id": bob.id, "message": "see @person1", "attachments": [file],
        "client_message_id": "once"});
    let sent = walk.ask(alice, "POST /messages", &[], body.clone()).await;
    walk.ask(alice, "POST /messages", &[], body).await;
    walk.ask(bob, "GET /attachments/{attachment_id}", &[file], Value::Null).await;
    walk.ask(bob, "GET /attachments/{attachment_id}/thumbnail", &[file], Value::Null).await;
    let (conversation, id) = (text(&sent["conversation_id"]), text(&sent["id"]));
    let place = [conversation, id];
    for mark in ["before", "after", "around"] {
        let with = format!("GET /messages/{{user_id}}?limit=5&{mark}={id}");
        walk.ask(bob, &with, &[&alice.id], Value::Null).await;
    }
    let history = "GET /conversations/{conversation_id}/messages";
    walk.ask(bob, history, &[conversation], Value::Null).await;
    walk.ask(bob, &format!("GET {MESSAGE}"), &place, Value::Null).await;
    let edit = json!({"message": "see @person1 and more"});
    walk.ask(alice, &format!("PATCH {MESSAGE}"), &place, edit).await;
    for verb in ["PUT", "DELETE"] {
        let emoji = [conversation, id, "%F0%9F%91%8D"];
        let react = format!("{verb} {MESSAGE}/reactions/{{emoji}}");
        walk.ask(bob, &react, &emoji, Value::Null).await;
        walk.ask(bob, history, &[conversation], Value::Null).await;
        walk.ask(bob, &format!("{verb} {MESSAGE}/pin"), &place, Value::Null).await;
        walk.ask(bob, &format!("{history}?pinned=true"), &[conversation], Value::Null).await;
    }
    walk.list(alice, &format!("GET {MESSAGE}/receipts"), &place).await;
    walk.ask(alice, &format!("DELETE {MESSAGE}"), &place, Value::Null).await;
    walk.ask(bob, "GET /conversations/{conversation_id}", &[conversation], Value::Null).await;
    let read = "POST /conversations/{conversation_id}/read";
    walk.ask(bob, read, &[conversation], json!({"message_id": id})).await;
    let mute = "PUT /conversations/{conversation_id}/mute";
    walk.ask(bob, mute, &[conversation], json!({"muted_until": null})).await;
}

async fn groups(walk: &mut Walk<'_>, people: &[Actor]) {
    let (alice, bob) = (&people[0], &people[1]);
    let new = json!({"group_name": "new", "members": [bob.id, people[2].id]});
    let group = walk.ask(alice, "POST /groups", &[], new).await;
    let group = [text(&group["id"])];
    walk.ask(bob, "GET /groups/{group_id}", &group, Value::Null).await;
    walk.ask(alice, "PUT /groups/{group_id}", &group, json!({"group_name": "newer"})).await;
    let third = json!({"user_id": people[3].id});
    walk.ask(alice, "POST /groups/{group_id}/add", &group, third.clone()).await;
    walk.ask(alice, "POST /groups/{group_id}/remove", &group, third).await;
    let give = "PUT /groups/{group_id}/members/{user_id}";
    walk.ask(alice, give, &[group[0], &bob.id], json!({"role": "admin"})).await;
    walk.ask(alice, give, &[group[0], &bob.id], json!({"role": "owner"})).await;
    walk.ask(alice, "POST /groups/{group_id}/leave", &group, Value::Null).await;
    walk.ask(bob, "DELETE /groups/{group_id}", &group, Value::Null).await;
}

async fn lists(walk: &mut Walk<'_>, people: &[Actor]) {
    let alice = &people[0];
    for list in ["GET /conversations", "GET /groups", "GET /notifications"] {
        walk.list(alice, list, &[]).await;
    }
    walk.list(alice, "GET /notifications?unread=true", &[]).await;
    let told = walk.ask(alice, "GET /notifications", &[], Value::Null).await;
    let ids: Vec<&Value> =
        told["items"].as_array().expect("items").iter().take(5).map(|it| &it["id"]).collect();
    walk.ask(alice, "POST /notifications/read", &[], json!({"ids": ids})).await;
    walk.ask(alice, "POST /notifications/read", &[], json!({"all": true})).await;
    walk.list(alice, "GET /search/messages?q=hello", &[]).await;
    walk.list(alice, "GET /search/messages?q=hello%20back", &[]).await;
    for public in [
        "/healthz",
        "/readyz",
        "/.well-known/jwks.json",
        "/openapi.json",
        "/asyncapi.json",
        "/docs",
    ] {
        walk.ask(alice, &format!("GET {public}"), &[], Value::Null).await;
    }
}

/// Who comes back is told of all of the walk.
async fn sockets(walk: &mut Walk<'_>, people: &[Actor], since: &str) {
    let (alice, bob) = (&people[0], &people[1]);
    let mut back = alice.socket_since(since).await;
    assert_eq!(back.ready["recovered"], true, "{}", back.ready);
    let last = bob.send(alice, "the last of all").await;
    let frames = back.frames_until(|frame| frame["data"]["id"] == last["id"]).await;
    let kinds: BTreeSet<&str> = frames.iter().map(|frame| text(&frame["type"])).collect();
    assert!(kinds.len() > 8, "{kinds:?}");
    walk.walked.insert("GET /ws".to_owned());
    walk.ask(alice, &format!("GET /events?since={since}"), &[], Value::Null).await;
    walk.ask(alice, &format!("GET /sync?limit=100&since={since}"), &[], Value::Null).await;
}

/// Who leaves takes along what is theirs: that is as much as they have.
async fn leave(walk: &mut Walk<'_>, people: &[Actor]) {
    let gone = &people[22];
    walk.ask(gone, "DELETE /profile", &[], json!({"password": gone.password})).await;
}

/// A small picture.
fn picture() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(3, 2).write_to(&mut png, image::ImageFormat::Png).expect("a PNG");
    png.into_inner()
}
