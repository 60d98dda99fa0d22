//! What a search reads: no more than one's conversations, and the matches in them.

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, Document, doc};
use natter::internals::domain::{ConversationId, MessageId, UserId, hashes_of};
use natter::internals::store::shard_of;

use super::query;
use crate::support::{Actor, TestApp};

const CONVERSATIONS: i64 = 450;
const EACH: i64 = 5;

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// Direct conversations of someone with five messages each, all in one another's midst. Each says
/// `common`, the first of every fiftieth conversation also `rare`.
async fn talk(app: &TestApp, user: &Actor) {
    let user: UserId = user.id.parse().expect("an id");
    let (database, shards) = (app.database().await, app.settings().messages.shards as usize);
    let base = app.clock().now().millis() - 1_000_000;
    let (mut summaries, mut words) = (Vec::new(), Vec::new());
    let mut messages = vec![Vec::new(); shards];
    for n in 0..CONVERSATIONS {
        let peer = UserId::random();
        let id = ConversationId::direct(user, peer);
        let at = |m: i64| DateTime::from_millis(base + 7 * n + 450 * m);
        summaries.push(doc! {
            "_id": binary(&id.bytes()), "kind": "direct", "last_seq": EACH, "revision": 0_i64,
            "members": [binary(&user.bytes()), binary(&peer.bytes())],
            "last_at": at(EACH), "created_at": at(0),
        });
        for m in 1..=EACH {
            let text = if n % 50 == 0 && m == 1 { "common rare" } else { "common" };
            let key = MessageId::new(id, u64::try_from(m).expect("a number")).bytes();
            messages[shard_of(id, shards)].push(doc! {
                "_id": binary(&key), "token": binary(&[0; 16]), "sender": binary(&peer.bytes()),
                "nth": m, "text": text, "at": at(m),
            });
            words.push(doc! {
                "_id": binary(&key), "conversation_id": binary(&id.bytes()), "at": at(m),
                "words": hashes_of(text).into_iter().collect::<Vec<i64>>(),
            });
        }
    }
    let fill = async |name: &str, rows: Vec<Document>| {
        database.collection(name).insert_many(rows).await.expect("inserted");
    };
    fill("conversations", summaries).await;
    fill("message_words", words).await;
    for (n, rows) in messages.into_iter().enumerate() {
        fill(&format!("messages_{n}"), rows).await;
    }
}

/// What a request reads of an index: keys and documents.
async fn read(app: &TestApp, collection: &str, request: impl Future<Output = ()>) -> (i32, i32) {
    let database = app.database().await;
    let profile: Database = database.clone();
    profile.run_command(doc! { "profile": 2 }).await.expect("the profiler is on");
    request.await;
    profile.run_command(doc! { "profile": 0 }).await.expect("the profiler is off");
    let rows = database.collection::<Document>("system.profile");
    let ns = format!("{}.{collection}", database.name());
    let found =
        rows.find(doc! { "ns": ns, "planSummary": { "$exists": true } }).await.expect("a cursor");
    let found: Vec<Document> = found.try_collect().await.expect("all of it");
    rows.drop().await.expect("dropped");
    assert!(!found.is_empty(), "{collection} is not read");
    for query in &found {
        assert!(query.get_bool("hasSortStage").is_err(), "{query}");
        let plan = query.get_str("planSummary").expect("a plan");
        assert!(plan.starts_with("IXSCAN") || plan.starts_with("COUNT_SCAN"), "{plan}");
    }
    let sum = |name: &str| found.iter().map(|query| query.get_i32(name).unwrap_or(0)).sum();
    (sum("keysExamined"), sum("docsExamined"))
}

/// Asks for one page, and gives the number of its items and the cursor.
async fn page(user: &Actor, path: &str) -> (usize, Option<String>) {
    let page = user.get(path).await.ok(200);
    let items = page["items"].as_array().expect("a list").len();
    (items, page["next_cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_search_reads_ones_conversations_and_the_matches_in_them() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    talk(&app, &ada).await;
    let conversations = i32::try_from(CONVERSATIONS).expect("a number");
    let first = format!("{}&limit=10", query("common"));
    let ask = async |path: &str, items: usize| assert_eq!(page(&ada, path).await.0, items);
    // The newest ten are in the first 200 conversations, and no others are asked.
    let (keys, documents) = read(&app, "message_words", ask(&first, 10)).await;
    assert!(keys <= 200 + 2 * 11 && documents == 0, "{keys} {documents}");
    let (keys, documents) = read(&app, "conversations", ask(&first, 10)).await;
    assert!(keys <= conversations + 2 * 11 && documents <= 10, "{keys} {documents}");
    let rare = query("rare");
    let (keys, documents) = read(&app, "message_words", ask(&rare, 9)).await;
    assert!(keys <= conversations + 20 && documents == 0, "{keys} {documents}");
    // Which of two words is the rarer is found out first.
    let both = query("common rare");
    let (keys, documents) = read(&app, "message_words", ask(&both, 9)).await;
    assert!(keys <= 2 * (conversations + 250) && documents <= 300, "{keys} {documents}");
    let none = query("nowhere");
    let (keys, _) = read(&app, "message_words", ask(&none, 0)).await;
    assert!(keys <= conversations, "{keys}");
}

#[tokio::test]
async fn the_newest_2000_matches_are_found_each_once() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    talk(&app, &ada).await;
    let start = format!("{}&limit=100", query("common"));
    let (mut found, mut path, mut most) = (0, start.clone(), 0);
    loop {
        let mut next = None;
        let (keys, _) = read(&app, "message_words", async {
            let (items, cursor) = page(&ada, &path).await;
            (found, next) = (found + items, cursor);
        })
        .await;
        most = most.max(keys);
        let Some(cursor) = next else { break };
        path = format!("{start}&cursor={cursor}");
    }
    assert_eq!(found, 2000);
    // All three rounds of conversations, a batch of each, and what a page holds.
    assert!(most <= 450 + 5 * 101, "{most}");
}
