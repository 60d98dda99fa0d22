//! More messages at once than the queue of an instance holds.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::persist;
use crate::support::app::client;
use crate::support::audit::{Acknowledged, Audit};
use crate::support::instance::Instance;
use crate::support::{Actor, Answer, TestApp};

/// How long the writer stands still with each of its first batches.
const PAUSE: Duration = Duration::from_millis(2500);

/// How many these are: two can be under way at once, so the queue moves little for 5 s.
const PAUSES: usize = 4;

/// How long natter waits for the writer before it answers 503.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);

/// More than 1024 that may wait and 128 that the writer may have taken.
const SENDS: usize = 1400;

/// Requests that a client has under way on one connection.
const STREAMS: usize = 90;

/// A message of its own name to the group.
fn nth(group: &str, n: usize) -> Value {
    let name = format!("m{n}");
    json!({"group_id": group, "message": name, "client_message_id": name})
}

/// The same person on connections of so many devices, all open.
async fn devices(instance: &Instance, actor: &Actor, number: usize) -> Vec<Actor> {
    let devices: Vec<_> = (0..number).map(|_| instance.seen_through(client(), actor)).collect();
    for answer in join_all(devices.iter().map(|device| device.get("/profile"))).await {
        answer.ok(200);
    }
    devices
}

/// What became of the messages, by their numbers.
#[derive(Default)]
struct Outcome {
    acknowledged: Vec<Acknowledged>,
    refused: Vec<usize>,
    /// Those of the refused that cannot have waited for the writer: only a full queue does that.
    at_once: Vec<usize>,
}

impl Outcome {
    fn of(answers: Vec<(Answer, Duration)>, sender: &Actor) -> Self {
        let mut outcome = Self::default();
        for (n, (answer, after)) in answers.into_iter().enumerate() {
            if answer.status == 201 {
                let id = answer.json()["id"].as_str().expect("an id").to_owned();
                let (sender, text) = (sender.id.clone(), format!("m{n}"));
                outcome.acknowledged.push(Acknowledged { id, sender, text });
                continue;
            }
            assert_ne!(answer.header("retry-after"), "", "{}", answer.text());
            answer.problem(503, "unavailable");
            outcome.refused.push(n);
            if after < SEND_TIMEOUT {
                outcome.at_once.push(n);
            }
        }
        outcome
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_the_queue_full_is_refused_whole_and_may_come_again() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("all", std::slice::from_ref(&bob)).await;
    let pause = format!("queue.taken={PAUSES}*sleep({})", PAUSE.as_millis());
    let instance = Instance::start(&app, &pause).await;
    let devices = devices(&instance, &alice, SENDS.div_ceil(STREAMS)).await;
    let began = Instant::now();
    let answers: Vec<(Answer, Duration)> = join_all((0..SENDS).map(|n| {
        let (device, body) = (&devices[n / STREAMS], nth(&group, n));
        async move { (device.post("/messages", body).await, began.elapsed()) }
    }))
    .await;

    let Outcome { acknowledged, refused, at_once } = Outcome::of(answers, &alice);
    println!("{} of {} refused at once", at_once.len(), refused.len());
    assert!(!at_once.is_empty() && !acknowledged.is_empty(), "{} taken", acknowledged.len());
    // Who was answered late may still wait: what comes after them is written after them.
    persist(&devices[0], &nth(&group, SENDS)).await;
    let audit = Audit::of(&app.database().await).await;
    audit.holds(&acknowledged);
    let conversation = group.parse().expect("a conversation id");
    let stored: Vec<_> = audit.messages(conversation).iter().map(|row| &row.text).collect();
    for n in at_once {
        assert!(!stored.contains(&&format!("m{n}")), "m{n} was refused, and is there");
    }

    let again = refused.iter().map(|n| {
        let (device, body) = (&devices[n / STREAMS], nth(&group, *n));
        async move { persist(device, &body).await }
    });
    join_all(again).await;
    let audit = Audit::of(&app.database().await).await;
    audit.holds(&acknowledged);
    assert_eq!(audit.messages(conversation).len(), SENDS + 1);
    audit.is_what_they_see(&bob).await;
}
