//! Sending and reading messages.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

fn texts(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["message"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn a_message_is_sent_and_read_from_both_sides() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let text = "h\u{e9}llo <b>&</b> \u{1F469}\u{200D}\u{1F680}\r\n\u{202E}\"$ne\"";
    let sent = alice.send(&bob, text).await;
    assert_eq!(sent["message"], text);
    assert_eq!(sent["sender_id"], alice.id);
    assert_eq!(sent["recipient_user_id"], bob.id);
    assert_eq!(sent["group_id"], Value::Null);
    assert_eq!((&sent["seq"], &sent["conversation_type"]), (&json!(1), &json!("direct")));
    assert_eq!((&sent["status"], &sent["pinned"]), (&json!("sent"), &json!(false)));
    for empty in ["attachments", "mentions", "reactions"] {
        assert_eq!(sent[empty], json!([]));
    }
    for absent in ["reply_to", "client_message_id", "edited_at", "deleted_at"] {
        assert!(sent.as_object().expect("an object").contains_key(absent));
        assert_eq!(sent[absent], Value::Null);
    }
    let at_bob = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(at_bob["items"], json!([sent]));
    assert_eq!(at_bob["conversation_id"], sent["conversation_id"]);
    assert_eq!((&at_bob["older_cursor"], &at_bob["newer_cursor"]), (&Value::Null, &Value::Null));
    let conversation = sent["conversation_id"].as_str().expect("an id");
    let same = bob.get(&format!("/conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(same, at_bob);
    assert_eq!(alice.get(&format!("/messages/{}", bob.id)).await.ok(200), at_bob);
}

#[tokio::test]
async fn pages_are_next_to_their_mark() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let path = format!("/messages/{}", bob.id);
    let empty = alice.get(&path).await.ok(200);
    assert_eq!((texts(&empty).len(), &empty["older_cursor"]), (0, &Value::Null));
    let mut ids = vec![String::new()];
    for n in 1..=10 {
        let sent = alice.send(&bob, &n.to_string()).await;
        ids.push(sent["id"].as_str().expect("an id").to_owned());
    }
    let page = async |query: String| alice.get(&format!("{path}?{query}")).await.ok(200);
    let newest = page("limit=3".into()).await;
    assert_eq!(texts(&newest), ["10", "9", "8"]);
    assert_eq!((&newest["older_cursor"], &newest["newer_cursor"]), (&json!(ids[8]), &Value::Null));
    let older = page(format!("limit=3&before={}", ids[8])).await;
    assert_eq!(texts(&older), ["7", "6", "5"]);
    assert_eq!((&older["older_cursor"], &older["newer_cursor"]), (&json!(ids[5]), &json!(ids[7])));
    let newer = page(format!("limit=3&after={}", ids[5])).await;
    assert_eq!(texts(&newer), ["8", "7", "6"]);
    let first = page(format!("limit=5&before={}", ids[5])).await;
    assert_eq!(texts(&first), ["4", "3", "2", "1"]);
    assert_eq!(first["older_cursor"], Value::Null);
    // From either end one turns back.
    let after = page(format!("after={}", ids[10])).await;
    let ends = [&after["items"], &after["older_cursor"], &after["newer_cursor"]];
    assert_eq!(ends, [&json!([]), &json!(ids[10]), &Value::Null]);
    let before = page(format!("before={}", ids[1])).await;
    let ends = [&before["items"], &before["older_cursor"], &before["newer_cursor"]];
    assert_eq!(ends, [&json!([]), &Value::Null, &json!(ids[1])]);
    assert_eq!(texts(&page("limit=100".into()).await).len(), 10);
}

#[tokio::test]
async fn a_mark_of_elsewhere_is_refused() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let here = alice.send(&bob, "here").await;
    let elsewhere = alice.send(&carol, "elsewhere").await;
    let here = here["id"].as_str().expect("an id");
    for mark in ["before", "after"] {
        for bad in [elsewhere["id"].as_str().expect("an id"), "x", "", "%7B%22$ne%22:null%7D"] {
            let path = format!("/messages/{}?{mark}={bad}", bob.id);
            alice.get(&path).await.problem(400, "invalid_cursor");
        }
    }
    let more = format!("/messages/{}?before=x&limit=x", bob.id);
    alice.get(&more).await.problem(400, "invalid_cursor");
    let both = format!("/messages/{}?before={here}&after={here}", bob.id);
    alice.get(&both).await.invalid(&["after"]);
    let mark = format!("/messages/{}?before={here}", carol.id);
    bob.get(&mark).await.problem(400, "invalid_cursor");
}

#[tokio::test]
async fn what_is_no_message_is_refused_by_field() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let ne = json!({"$ne": null});
    let to_bob = |fields: Value| {
        let mut body = json!({"recipient_user_id": bob.id, "message": "hi"});
        for (name, value) in fields.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    };
    let cases = [
        (json!({}), vec!["message", "recipient_user_id"]),
        (json!({"message": ne, "recipient_user_id": ne}), vec!["message", "recipient_user_id"]),
        (to_bob(json!({"group_id": bob.id})), vec!["group_id"]),
        (to_bob(json!({"group_id": ne})), vec!["group_id"]),
        (to_bob(json!({"message": ""})), vec!["message"]),
        (to_bob(json!({"message": " \u{200B}\n"})), vec!["message"]),
        (to_bob(json!({"message": "a\u{0}b"})), vec!["message"]),
        (to_bob(json!({"message": "x".repeat(8001)})), vec!["message"]),
        (to_bob(json!({"attachments": [ne]})), vec!["attachments[0]"]),
        (to_bob(json!({"attachments": vec![bob.id.clone(); 11]})), vec!["attachments"]),
        (
            to_bob(json!({"attachments": [bob.id, bob.id]})),
            vec!["attachments[0]", "attachments[1]"],
        ),
        (to_bob(json!({"reply_to": ne})), vec!["reply_to"]),
        (to_bob(json!({"reply_to": "x"})), vec!["reply_to"]),
        (to_bob(json!({"client_message_id": ""})), vec!["client_message_id"]),
        (to_bob(json!({"client_message_id": "x".repeat(65)})), vec!["client_message_id"]),
        (to_bob(json!({"client_message_id": ne})), vec!["client_message_id"]),
    ];
    for (body, fields) in cases {
        alice.post("/messages", body).await.invalid(&fields);
    }
    assert_eq!(texts(&alice.get(&format!("/messages/{}", bob.id)).await.ok(200)).len(), 0);
    alice.send(&bob, &"\u{1F600}".repeat(8000)).await;
}

#[tokio::test]
async fn nobody_writes_to_or_reads_what_is_not_theirs() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let nobody = "0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39";
    let to_nobody = json!({"recipient_user_id": nobody, "message": "hi"});
    alice.post("/messages", to_nobody).await.problem(404, "not_found");
    alice.get(&format!("/messages/{nobody}")).await.problem(404, "not_found");
    let no_group = json!({"group_id": nobody, "message": "hi"});
    alice.post("/messages", no_group).await.problem(404, "not_found");
    let sent = alice.send(&bob, "between us").await;
    let conversation = sent["conversation_id"].as_str().expect("an id");
    let history = format!("/conversations/{conversation}/messages");
    eve.get(&history).await.problem(404, "not_found");
    let read = json!({"message_id": sent["id"]});
    let mark = format!("/conversations/{conversation}/read");
    eve.post(&mark, read).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_reply_names_a_message_of_the_same_conversation() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let question = alice.send(&bob, "?").await;
    let elsewhere = alice.send(&carol, "?").await;
    let reply = |to: &Value| json!({"recipient_user_id": alice.id, "message": "!", "reply_to": to});
    let answer = bob.post("/messages", reply(&question["id"])).await.ok(201);
    assert_eq!(answer["reply_to"], question["id"]);
    bob.post("/messages", reply(&elsewhere["id"])).await.invalid(&["reply_to"]);
}

#[tokio::test]
async fn one_may_write_to_oneself() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let note = alice.send(&alice, "note").await;
    assert_eq!(note["recipient_user_id"], alice.id);
    assert_eq!(note["status"], "read");
    assert_eq!(texts(&alice.get(&format!("/messages/{}", alice.id)).await.ok(200)), ["note"]);
    assert_eq!(alice.get("/notifications").await.ok(200)["unread_count"], 0);
}

#[tokio::test]
async fn a_repeated_send_is_one_message() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let body = json!({"recipient_user_id": bob.id, "message": "once", "client_message_id": "k-1"});
    let elsewhere = other.seen_by(&alice);
    let sends = (0..50).map(|n| {
        let actor = if n % 2 == 0 { &alice } else { &elsewhere };
        actor.post("/messages", body.clone())
    });
    let answers: Vec<Answer> = futures_util::future::join_all(sends).await;
    let fresh = answers.iter().filter(|a| a.header("idempotent-replayed").is_empty()).count();
    assert_eq!(fresh, 1);
    let first = answers[0].clone().ok(201);
    assert_eq!(first["client_message_id"], "k-1");
    for answer in answers {
        assert_eq!(answer.ok(201), first);
    }
    assert_eq!(texts(&bob.get(&format!("/messages/{}", alice.id)).await.ok(200)), ["once"]);

    let changed =
        json!({"recipient_user_id": bob.id, "message": "other", "client_message_id": "k-1"});
    alice.post("/messages", changed).await.problem(422, "idempotency_key_reused");
    let moved =
        json!({"recipient_user_id": carol.id, "message": "once", "client_message_id": "k-1"});
    assert_eq!(alice.post("/messages", moved).await.ok(201)["seq"], 1, "it is another message");
    let theirs =
        json!({"recipient_user_id": alice.id, "message": "mine", "client_message_id": "k-1"});
    assert_eq!(bob.post("/messages", theirs).await.ok(201)["seq"], 2);
    app.advance(std::time::Duration::from_mins(24 * 60 - 1));
    let alice = app.login(&alice.email, &alice.password).await;
    assert_eq!(alice.post("/messages", body).await.ok(201)["id"], first["id"]);
}

/// 10 senders × 100 messages into one conversation through two instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_have_no_gap_and_every_reader_sees_one_order() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let mut people = Vec::new();
    for n in 0..10 {
        people.push(app.user(&format!("person{n}")).await);
    }
    let group = people[0].group("all", &people[1..]).await;
    let sends = people.iter().enumerate().map(|(n, person)| {
        let person = if n % 2 == 0 { person.clone() } else { other.seen_by(person) };
        let group = group.clone();
        async move {
            for k in 0..100 {
                let body = json!({"group_id": group, "message": format!("{n}/{k}")});
                person.post("/messages", body).await.ok(201);
            }
        }
    });
    futures_util::future::join_all(sends).await;
    let history = whole_history(&people[0], &group).await;
    let seqs: Vec<u64> = history.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=1000).collect::<Vec<u64>>());
    assert_eq!(whole_history(&other.seen_by(&people[9]), &group).await, history);
    let mut by_sender: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (_, text) in &history {
        let (sender, k) = text.split_once('/').expect("sender/number");
        by_sender.entry(sender.to_owned()).or_default().push(k.parse().expect("a number"));
    }
    assert_eq!(by_sender.len(), 10);
    for (sender, order) in by_sender {
        assert_eq!(order, (0..100).collect::<Vec<u32>>(), "{sender}");
    }
}

/// All messages of a conversation in order, walked backwards in pages.
async fn whole_history(reader: &Actor, conversation: &str) -> Vec<(u64, String)> {
    let mut path = format!("/conversations/{conversation}/messages?limit=37");
    let mut found = Vec::new();
    loop {
        let page = reader.get(&path).await.ok(200);
        for item in page["items"].as_array().expect("items") {
            let text = item["message"].as_str().expect("a text").to_owned();
            found.push((item["seq"].as_u64().expect("a number"), text));
        }
        let Some(older) = page["older_cursor"].as_str() else { break };
        path = format!("/conversations/{conversation}/messages?limit=37&before={older}");
    }
    found.reverse();
    found
}
