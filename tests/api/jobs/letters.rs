//! Failures, dead letters, and what an operator does about them.

use tokio::time::timeout;

use super::*;
use crate::operators::program;

/// What `natter jobs …` prints, what it complains of, and its exit code.
async fn natter(app: &TestApp, arguments: &[&str]) -> (String, String, i32) {
    let arguments = [&["jobs"], arguments].concat();
    let output = timeout(PATIENCE, program(app, &arguments).output()).await;
    let output = output.expect("an end in time").expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("a text");
    (text(output.stdout), text(output.stderr), output.status.code().expect("a code"))
}

/// Runs a job so often in vain that it is given up.
async fn die(app: &TestApp, one: &Instance, bench: &Bench, name: &str) {
    bench.failures.store(3, Ordering::SeqCst);
    one.enqueue(&note(name), one.now()).await;
    let dead = doc! { "kind": "note", "state": "dead", "payload.name": name };
    until(async || {
        app.advance(Duration::from_secs(5));
        count(app, dead.clone()).await == 1
    })
    .await;
}

#[tokio::test]
async fn an_operator_lists_retries_and_deletes_dead_letters() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    for name in ["a", "b", "c"] {
        die(&app, &one, &bench, name).await;
    }
    assert_eq!(bench.ran().await.len(), 9);
    let dead = r#"natter_jobs{kind="note",state="dead"}"#;
    until(async || one.sample(dead).as_deref() == Some("3")).await;

    let (listed, _, code) = natter(&app, &["list", "--dead"]).await;
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows.len(), code), (3, 0), "{listed}");
    for row in &rows {
        assert_eq!((row[1], row[2], row[3], row[6]), ("note", "dead", "3", "not yet"));
    }
    let (all, _, _) = natter(&app, &["list"]).await;
    assert!(all.contains("\tforget_dead_letters\twaiting\t"), "{all}");
    assert_eq!(natter(&app, &["list", "--kind", "unheard_of"]).await, Default::default());
    let (some, hint, _) = natter(&app, &["list", "--limit", "1"]).await;
    assert_eq!((some.lines().count(), hint.contains("--limit")), (1, true));

    let id = rows[0][0];
    assert_eq!(natter(&app, &["delete", id]).await.2, 0);
    for action in ["delete", "retry"] {
        let (printed, complaint, code) = natter(&app, &[action, id]).await;
        let lines = complaint.lines().count();
        assert_eq!((printed.as_str(), lines, code), ("", 1, 1), "{complaint}");
        assert!(complaint.contains(id), "{complaint}");
    }
    assert_eq!(natter(&app, &["retry", rows[1][0]]).await.2, 0);
    let (printed, _, code) = natter(&app, &["retry", "--kind", "note"]).await;
    assert_eq!((printed.as_str(), code), ("1 enqueued again\n", 0));
    assert_eq!(natter(&app, &["retry"]).await.2, 2);
    app.advance(Duration::from_mins(1));
    done(&app, "note").await;
    assert_eq!(bench.ran().await.len(), 11);
}

#[tokio::test]
async fn a_failed_job_waits_longer_each_time() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    bench.failures.store(2, Ordering::SeqCst);
    let one = Instance::start(&app, notes(), &bench).await;
    one.enqueue(&note("job"), one.now()).await;
    bench.begun(1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(bench.ran().await.len(), 1, "not before its time");
    app.advance(Duration::from_secs(1));
    bench.begun(2).await;
    until(async || count(&app, doc! { "state": "waiting", "attempts": 2 }).await == 1).await;
    app.advance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(bench.ran().await.len(), 2, "not after the same wait");
    app.advance(Duration::from_secs(1));
    done(&app, "note").await;
    assert_eq!(bench.ran().await.len(), 3);
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, Registry::default().with::<Panicking>(), &bench).await;
    one.enqueue(&Panicking {}, one.now()).await;
    bench.begun(1).await;
    until(async || count(&app, doc! { "error": "the run panicked" }).await == 1).await;
    app.advance(Duration::from_secs(1));
    done(&app, "panicking").await;
    assert_eq!(bench.ran().await, ["1", "2"]);
    let restarts = r#"natter_worker_restarts_total{worker="panicking-0"}"#;
    assert_eq!(one.sample(restarts).as_deref(), Some("0"));
}

#[tokio::test]
async fn a_payload_of_another_shape_is_a_dead_letter() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let later = app.clock().now().plus(Duration::from_secs(10));
    one.enqueue(&note("job"), one.now().due(later)).await;
    let rows = app.database().await.collection::<Document>("jobs");
    let other = doc! { "$set": { "payload": { "title": 7 } } };
    rows.update_one(doc! { "kind": "note" }, other).await.expect("changed");
    app.advance(Duration::from_secs(10));
    until(async || count(&app, doc! { "kind": "note", "state": "dead" }).await == 1).await;
    assert_eq!(bench.ran().await.len(), 0);
}

#[tokio::test]
async fn old_dead_letters_are_forgotten() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    die(&app, &one, &bench, "old").await;
    app.advance(Duration::from_hours(29 * 24));
    die(&app, &one, &bench, "new").await;
    app.advance(Duration::from_hours(25));
    until(async || count(&app, doc! { "payload.name": "old" }).await == 0).await;
    assert_eq!(count(&app, doc! { "payload.name": "new" }).await, 1);
}
