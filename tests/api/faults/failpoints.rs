//! An instance ends at each place of the sending path in turn; the sender asks another one again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::{StreamExt, stream};
use mongodb::bson::{Document, doc};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::{persist, relaying, setting};
use crate::support::audit::Audit;
use crate::support::instance::Instance;
use crate::support::{Actor, Answer, TestApp};

/// Whether the message is stored when the instance has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    No,
    Yes,
    /// Two tasks race: the one that dies, and the one that writes.
    Either,
}

/// What leads to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Sending.
    Sending,
    /// Sending what another instance has sent already.
    Repeating,
    /// Sending, when the answer to the commit gets lost.
    Settling,
    /// Sending, when the answer to a write in the transaction gets lost.
    Aborting,
}

/// Every failpoint there is, in the order of the sending path.
const POINTS: [(&str, Way, Stored); 35] = [
    ("send.asked", Way::Sending, Stored::No),
    ("send.allowed", Way::Sending, Stored::No),
    ("send.files", Way::Sending, Stored::No),
    ("send.drafted", Way::Sending, Stored::No),
    ("send.looked_up", Way::Sending, Stored::No),
    ("send.checked", Way::Sending, Stored::No),
    ("queue.entered", Way::Sending, Stored::Either),
    ("queue.taken", Way::Sending, Stored::No),
    ("transaction.session", Way::Sending, Stored::No),
    ("transaction.begun", Way::Sending, Stored::No),
    ("plan.keys", Way::Sending, Stored::No),
    ("plan.summaries", Way::Sending, Stored::No),
    ("plan.totals", Way::Sending, Stored::No),
    ("plan.files", Way::Sending, Stored::No),
    ("apply.conversations", Way::Sending, Stored::No),
    ("apply.members", Way::Sending, Stored::No),
    ("apply.messages", Way::Sending, Stored::No),
    ("apply.unindexed", Way::Sending, Stored::No),
    ("apply.sends", Way::Sending, Stored::No),
    ("apply.keys", Way::Sending, Stored::No),
    ("apply.held", Way::Sending, Stored::No),
    ("apply.uses", Way::Sending, Stored::No),
    ("apply.told", Way::Sending, Stored::No),
    ("transaction.commit", Way::Sending, Stored::No),
    ("transaction.aborted", Way::Aborting, Stored::No),
    // A transaction of a background task may come there first.
    ("transaction.committed", Way::Sending, Stored::Either),
    ("batch.written", Way::Sending, Stored::Yes),
    ("settle.begun", Way::Settling, Stored::Yes),
    ("settle.read", Way::Settling, Stored::Yes),
    ("queue.answer", Way::Sending, Stored::Yes),
    ("send.written", Way::Sending, Stored::Yes),
    ("send.answer", Way::Sending, Stored::Yes),
    ("replay.opened", Way::Repeating, Stored::Yes),
    ("replay.found", Way::Repeating, Stored::Yes),
    ("replay.answer", Way::Repeating, Stored::Yes),
];

/// What arms an instance to die there.
fn arms(name: &str, way: Way) -> String {
    let lost = match way {
        Way::Sending | Way::Repeating => "",
        Way::Settling => "batch.written=1*return(lose);",
        Way::Aborting => "apply.conversations=1*return(lose);",
    };
    format!("{lost}{name}=return(kill)")
}

/// Where messages go in one case.
struct Place {
    peer: Actor,
    group: Option<String>,
}

impl Place {
    fn body(&self, text: &str) -> Value {
        match &self.group {
            Some(group) => json!({"group_id": group, "message": text}),
            None => json!({"recipient_user_id": self.peer.id, "message": text}),
        }
    }
}

async fn upload(alice: &Actor) -> String {
    let part = Part::bytes(b"a file of several messages".as_slice()).file_name("a.txt");
    let request = alice.request("POST", "/attachments").multipart(Form::new().part("file", part));
    let file = Answer::of(request).await.ok(201);
    file["id"].as_str().expect("an id").to_owned()
}

/// Whether a majority has the message, before anybody asks for it again.
async fn is_stored(app: &TestApp, body: &Value) -> bool {
    let database = app.database().await;
    let named = doc! { "client_message_id": body["client_message_id"].as_str().expect("a name") };
    let mut found = 0;
    for shard in 0..app.settings().messages.shards {
        let rows = database.collection::<Document>(&format!("messages_{shard}"));
        found += rows.count_documents(named.clone()).await.expect("a count");
    }
    found > 0
}

/// Three messages; the instance that is sent the second dies there, and another gets it again.
async fn killed_at(
    (name, way, stored): (&str, Way, Stored),
    (in_group, peer): (bool, Actor),
    app: &TestApp,
    alice: &Actor,
) -> Actor {
    // Its own: what a dead instance's transaction has written is held for a while.
    let file = upload(alice).await;
    let group =
        if in_group { Some(alice.group(name, std::slice::from_ref(&peer)).await) } else { None };
    let place = Place { peer, group };
    let first = alice.post("/messages", place.body("before")).await.ok(201);
    let mut body = place.body(name);
    body["client_message_id"] = json!(format!("{name}{in_group}"));
    (body["attachments"], body["reply_to"]) = (json!([file]), first["id"].clone());
    if way == Way::Repeating {
        alice.post("/messages", body.clone()).await.ok(201);
    }
    let mut instance = Instance::start(app, &arms(name, way)).await;
    let request = instance.seen_by(alice).request("POST", "/messages").json(&body);
    let answer = request.send().await;
    instance.died(name).await;
    assert!(answer.is_err(), "{name}: an answer by a dead instance");
    let is_there = is_stored(app, &body).await;
    assert!(stored == Stored::Either || is_there == (stored == Stored::Yes), "{name}: {is_there}");
    let answer = persist(alice, &body).await;
    let replayed = answer.header("idempotent-replayed") == "true";
    assert!(replayed || !is_there, "{name}: sent again");
    let again = alice.post("/messages", body.clone()).await.ok(201);
    assert_eq!((&answer.json()["id"], &answer.json()["seq"]), (&again["id"], &json!(2)), "{name}");
    let last = alice.post("/messages", place.body("after")).await.ok(201);
    assert_eq!(last["seq"], 3, "{name}");
    place.peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_anywhere_a_message_is_there_once() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let both = setting("NATTER_FAULTS_KILLS", 0) > 0;
    let mut cases = Vec::new();
    // All before anyone dies: an instance that does takes the mails in its hands for a minute.
    for (at, point) in POINTS.iter().enumerate() {
        for in_group in if both { vec![false, true] } else { vec![at % 2 == 1] } {
            let name = format!("{}.{}", point.0, if in_group { "g" } else { "d" });
            cases.push((*point, (in_group, app.user(&name).await)));
        }
    }
    let peers: Vec<Actor> = stream::iter(cases)
        .map(|(point, to)| killed_at(point, to, &app, &alice))
        .buffer_unordered(6)
        .collect()
        .await;
    let audit = Audit::of(&app.database().await).await;
    for peer in &peers {
        audit.is_what_they_see(peer).await;
        let unread = audit.unread(peer.id.parse().expect("an id"));
        assert_eq!(unread.into_values().collect::<Vec<_>>(), [3], "{}", peer.name);
    }
}

/// The failpoints in the sources.
fn places(directory: PathBuf, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            places(path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source file");
        for call in ["failpoint::reach(\"", "failpoint::lose(\""] {
            let named = source.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(named.map(str::to_owned));
        }
    }
}

#[test]
fn every_failpoint_is_in_the_table() {
    let mut found = BTreeSet::new();
    places(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    let names = POINTS.iter().map(|(name, ..)| *name).chain(relaying::POINTS);
    let listed: BTreeSet<String> = names.map(str::to_owned).collect();
    assert_eq!((found, POINTS.len() + relaying::POINTS.len()), (listed.clone(), listed.len()));
}
