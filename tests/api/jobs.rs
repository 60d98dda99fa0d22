//! The kernel of background jobs, with kinds made for these tests, on a real MongoDB.

mod letters;
mod order;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use natter::internals::domain::jobs::{
    Attempt, Enqueue, Job, JobError, Outcome, PeriodicJob, Progress, Retry,
};
use natter::internals::domain::{Clock, UserId};
use natter::internals::store::{Store, Tx};
use natter::internals::{Drain, Metrics, Registry, Shutdown, Supervisor, start_jobs};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

use crate::support::TestApp;
use crate::support::app::PATIENCE;

/// What the jobs of a test work with.
struct Bench {
    /// What ran, in the order in which runs began.
    ran: Mutex<Vec<String>>,
    /// Places for runs that wait until the test says so.
    gate: Semaphore,
    /// Runs under way now, and the most at once.
    running: AtomicUsize,
    most: AtomicUsize,
    /// How many runs fail before one succeeds.
    failures: AtomicUsize,
}

impl Bench {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ran: Mutex::default(),
            gate: Semaphore::new(0),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
        })
    }

    async fn ran(&self) -> Vec<String> {
        self.ran.lock().await.clone()
    }

    /// Waits until so many runs have begun.
    async fn begun(&self, count: usize) {
        until(async || self.ran.lock().await.len() >= count).await;
    }
}

/// Waits until something is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("so in time");
}

/// An instance that runs nothing but the jobs of a test.
struct Instance {
    store: Store,
    clock: Clock,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}

impl Instance {
    async fn start(app: &TestApp, registry: Registry<Arc<Bench>>, bench: &Arc<Bench>) -> Self {
        let mongodb = &app.settings().mongodb;
        let store = Store::new(mongodb.uri.expose(), &mongodb.database).await.expect("a store");
        let drain = Drain { delay: Duration::ZERO, limit: Duration::from_secs(20) };
        let (shutdown, clock) = (Shutdown::new(drain), app.clock().clone());
        let metrics = Metrics::new(clock.now()).expect("metrics");
        let supervisor = Supervisor::new(&shutdown, &metrics.workers);
        start_jobs(registry, bench.clone(), &store, &clock, &metrics.jobs, &supervisor);
        Self { store, clock, metrics, shutdown }
    }

    /// Enqueues a job; as a client would, again where too many conflict for too long.
    async fn enqueue<J: Job>(&self, job: &J, how: Enqueue) -> bool {
        loop {
            let body = async |tx: &mut Tx| tx.jobs().enqueue(job, how.clone()).await;
            match self.store.transact(body).await {
                Ok(is_new) => return is_new,
                Err(error) => assert!(error.to_string().starts_with("unavailable"), "{error}"),
            }
        }
    }

    fn now(&self) -> Enqueue {
        Enqueue::now(self.clock.now())
    }

    /// A sample of its metrics.
    fn sample(&self, name: &str) -> Option<String> {
        let text = self.metrics.text().expect("metrics");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
    }
}

async fn count(app: &TestApp, which: Document) -> u64 {
    let rows = app.database().await.collection::<Document>("jobs");
    rows.count_documents(which).await.expect("a count")
}

/// Waits until no job of a kind is left.
async fn done(app: &TestApp, kind: &str) {
    until(async || count(app, doc! { "kind": kind }).await == 0).await;
}

/// Notes its name, and fails as often as the test says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    name: String,
}

fn note(name: &(impl ToString + ?Sized)) -> Note {
    Note { name: name.to_string() }
}

impl Job for Note {
    type Deps = Arc<Bench>;
    const KIND: &'static str = "note";
    const CONCURRENCY: usize = 25;
    const RETRY: Retry = Retry { attempts: Some(3), ..Retry::DEFAULT };

    async fn run(&self, bench: &Arc<Bench>, _: &Attempt) -> Outcome {
        let running = bench.running.fetch_add(1, Ordering::SeqCst) + 1;
        bench.most.fetch_max(running, Ordering::SeqCst);
        bench.ran.lock().await.push(self.name.clone());
        tokio::time::sleep(Duration::from_millis(5)).await;
        bench.running.fetch_sub(1, Ordering::SeqCst);
        let one_less = |left: usize| left.checked_sub(1);
        match bench.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(JobError::passing("not yet")),
            Err(_) => Ok(Progress::Done),
        }
    }
}

/// Notes its name, then waits until the test opens the gate.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    name: String,
}

fn held(name: &(impl ToString + ?Sized)) -> Held {
    Held { name: name.to_string() }
}

impl Job for Held {
    type Deps = Arc<Bench>;
    const KIND: &'static str = "held";
    const CONCURRENCY: usize = 2;

    async fn run(&self, bench: &Arc<Bench>, _: &Attempt) -> Outcome {
        bench.ran.lock().await.push(self.name.clone());
        bench.gate.acquire().await.expect("never closed").forget();
        Ok(Progress::Done)
    }
}

/// Panics at first.
#[derive(Debug, Serialize, Deserialize)]
struct Panicking {}

impl Job for Panicking {
    type Deps = Arc<Bench>;
    const KIND: &'static str = "panicking";

    async fn run(&self, bench: &Arc<Bench>, attempt: &Attempt) -> Outcome {
        bench.ran.lock().await.push(attempt.number.to_string());
        assert!(attempt.number > 1, "as a defect does");
        Ok(Progress::Done)
    }
}

/// Counts its runs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tick {}

impl Job for Tick {
    type Deps = Arc<Bench>;
    const KIND: &'static str = "tick";

    async fn run(&self, bench: &Arc<Bench>, _: &Attempt) -> Outcome {
        bench.ran.lock().await.push("tick".to_owned());
        Ok(Progress::Done)
    }
}

impl PeriodicJob for Tick {
    const EVERY: Duration = Duration::from_mins(10);
}

fn notes() -> Registry<Arc<Bench>> {
    Registry::default().with::<Note>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_workers_one_runs_a_job() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let _other = Instance::start(&app, notes(), &bench).await;
    for n in 0..20 {
        one.enqueue(&note(&n), one.now()).await;
    }
    done(&app, "note").await;
    let mut ran = bench.ran().await;
    ran.sort_by_key(|name| name.parse::<u32>().expect("a number"));
    assert_eq!(ran, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_is_there_exactly_if_its_transaction_is() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let body = async |tx: &mut Tx| {
        tx.jobs().enqueue(&note("never"), one.now()).await?;
        Err::<(), _>(natter::Error::not_found())
    };
    one.store.transact(body).await.expect_err("rolled back");
    one.enqueue(&note("once"), one.now()).await;
    done(&app, "note").await;
    assert_eq!(bench.ran().await, ["once"]);
}

#[tokio::test]
async fn a_job_runs_when_it_is_due_and_never_once_it_has_expired() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let at = |minutes| app.clock().now().plus(Duration::from_mins(minutes));
    one.enqueue(&note("later"), one.now().due(at(10))).await;
    one.enqueue(&note("expired"), one.now().due(at(10)).expires_at(at(5))).await;
    app.advance(Duration::from_mins(9));
    one.enqueue(&note("now"), one.now()).await;
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.ran().await, ["now"]);
    app.advance(Duration::from_mins(1));
    done(&app, "note").await;
    assert_eq!(bench.ran().await, ["now", "later"]);
    let expired = r#"natter_job_runs_total{kind="note",outcome="expired"}"#;
    until(async || one.sample(expired).as_deref() == Some("1")).await;
}

/// As an instance leaves it that is killed between claiming and completing.
#[tokio::test]
async fn a_job_of_a_killed_instance_is_run_by_another_after_its_lease() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, Registry::default().with::<Held>(), &bench).await;
    one.enqueue(&held("job"), one.now()).await;
    bench.begun(1).await;
    let other = Instance::start(&app, Registry::default().with::<Held>(), &bench).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(bench.ran().await.len(), 1, "the lease stands");
    app.advance(Duration::from_secs(61));
    bench.begun(2).await;
    // Both come to their end: only the one that holds the job settles it.
    bench.gate.add_permits(2);
    done(&app, "held").await;
    let runs = |outcome| {
        let name = format!("natter_job_runs_total{{kind=\"held\",outcome=\"{outcome}\"}}");
        let runs = [&one, &other].map(|it| it.sample(&name));
        runs.into_iter().flatten().map(|runs| runs.parse::<u32>().expect("a number")).sum::<u32>()
    };
    until(async || runs("done") + runs("lost") == 2).await;
    assert_eq!((runs("done"), runs("lost")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_with_one_deduplication_key_one_waits() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, Registry::default().with::<Held>(), &bench).await;
    let later = app.clock().now().plus(Duration::from_mins(10));
    let enqueued = join_all((0..50).map(|_| {
        let how = one.now().once("key").due(later);
        let one = &one;
        async move { one.enqueue(&held("job"), how).await }
    }));
    let enqueued = enqueued.await.into_iter().filter(|is_new| *is_new).count();
    assert_eq!((enqueued, count(&app, doc! { "kind": "held" }).await), (1, 1));
    // One that runs has perhaps read what was before: the next one is another.
    app.advance(Duration::from_mins(10));
    bench.begun(1).await;
    assert!(one.enqueue(&held("job"), one.now().once("key").due(later)).await);
    assert!(one.enqueue(&held("job"), one.now().once("other").due(later)).await);
    bench.gate.add_permits(3);
    done(&app, "held").await;
    assert_eq!(bench.ran().await.len(), 3);
}

#[tokio::test]
async fn jobs_are_found_by_keys() {
    let app = TestApp::spawn().await;
    let now = mongodb::bson::DateTime::from_millis(app.clock().now().millis());
    let due = doc! {
        "kind": "note", "state": { "$in": ["scheduled", "waiting", "running"] },
        "due_at": { "$lte": now },
    };
    let next = doc! { "order_key": "note/k", "state": "blocked" };
    let head = doc! { "order_key": "note/k", "order_tail": { "$exists": true } };
    let twin = doc! { "dedup_key": "note/k" };
    for (filter, sort, index) in [
        (due, doc! { "due_at": 1 }, "due"),
        (next, doc! { "order_seq": 1 }, "order_key"),
        (head, doc! {}, "order_"),
        (twin, doc! {}, "dedup_key"),
        (doc! { "user_id": now }, doc! {}, "user_id"),
    ] {
        let find = doc! { "find": "jobs", "filter": filter, "sort": sort, "limit": 1 };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let plan = app.database().await.run_command(explain).await.expect("a plan");
        let winner =
            plan.get_document("queryPlanner").and_then(|it| it.get_document("winningPlan"));
        let winner = winner.expect("a plan").to_string();
        assert!(winner.contains(&format!("\"indexName\": \"{index}")), "{winner}");
        assert!(!winner.contains("\"SORT\"") && !winner.contains("COLLSCAN"), "{winner}");
    }
}
