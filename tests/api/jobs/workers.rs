//! Workers: kinds that do not wait for each other, stopping, periods, and the supervisor.

use natter::internals::Pace;

use super::*;

fn both() -> Registry<Arc<Bench>> {
    Registry::default().with::<Held>().with::<Note>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_of_a_slow_kind_delay_no_other() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, both(), &bench).await;
    for n in 0..10 {
        let body = async |tx: &mut Tx| {
            for m in 0..100 {
                tx.jobs().enqueue(&held(&(n * 100 + m)), one.now()).await?;
            }
            Ok(())
        };
        one.store.transact(body).await.expect("enqueued");
    }
    bench.begun(2).await;
    let began = tokio::time::Instant::now();
    one.enqueue(&note("quick"), one.now()).await;
    done(&app, "note").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let ran = bench.ran().await;
    assert_eq!((ran.len(), ran.last().map(String::as_str)), (3, Some("quick")));
    let waiting = r#"natter_jobs{kind="held",state="waiting"}"#;
    until(async || one.sample(waiting).as_deref() == Some("998")).await;
    let running = r#"natter_jobs{kind="held",state="running"}"#;
    assert_eq!(one.sample(running).as_deref(), Some("2"));
    app.advance(Duration::from_secs(30));
    let age = r#"natter_job_oldest_due_seconds{kind="held"}"#;
    until(async || one.sample(age).as_deref() == Some("30")).await;
}

#[tokio::test]
async fn a_stop_finishes_the_job_in_hand_and_claims_no_other() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, both(), &bench).await;
    for n in 0..5 {
        one.enqueue(&held(&n), one.now()).await;
    }
    bench.begun(2).await;
    let shutdown = one.shutdown.clone();
    let stop = tokio::spawn(async move { shutdown.finish().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!stop.is_finished(), "two are in hand");
    bench.gate.add_permits(5);
    tokio::time::timeout(PATIENCE, stop).await.expect("stopped in time").expect("stopped");
    assert_eq!(bench.ran().await.len(), 2);
    let left = doc! { "kind": "held", "state": "waiting", "attempts": 0 };
    assert_eq!(count(&app, left).await, 3);
}

#[tokio::test]
async fn a_periodic_job_runs_once_a_period_on_one_of_the_instances() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let ticks = || Registry::default().with_periodic::<Tick>();
    let _one = Instance::start(&app, ticks(), &bench).await;
    let _other = Instance::start(&app, ticks(), &bench).await;
    for period in 1..=3 {
        bench.begun(period).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(bench.ran().await.len(), period);
        app.advance(Duration::from_mins(10));
    }
    assert_eq!(count(&app, doc! { "kind": "tick" }).await, 1);
}

#[tokio::test]
async fn a_wait_that_was_planned_before_the_clock_was_set_back_is_none() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    bench.failures.store(1, Ordering::SeqCst);
    let one = Instance::start(&app, notes(), &bench).await;
    one.enqueue(&note("job"), one.now()).await;
    bench.begun(1).await;
    until(async || count(&app, doc! { "kind": "note", "state": "waiting" }).await == 1).await;
    app.set_back(Duration::from_hours(1));
    done(&app, "note").await;
}

#[tokio::test]
async fn a_worker_that_panics_is_started_again_and_its_restarts_show() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let supervisor = Supervisor::new(&one.shutdown, &one.metrics.workers);
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    supervisor.start("fragile", Pace::OnDemand, move |stop| {
        let start = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(start > 0, "as a defect does");
            stop.cancelled().await;
        }
    });
    until(async || starts.load(Ordering::SeqCst) == 2).await;
    let restarts = r#"natter_worker_restarts_total{worker="fragile"}"#;
    assert_eq!(one.sample(restarts).as_deref(), Some("1"));
    let stuck = r#"natter_worker_stuck{worker="fragile"}"#;
    assert_eq!(one.sample(stuck).as_deref(), Some("0"));
    one.shutdown.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a worker with this very defect")]
async fn a_worker_that_holds_its_thread_is_named() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let supervisor = Supervisor::new(&one.shutdown, &one.metrics.workers);
    supervisor.start("blocking", Pace::OnDemand, |stop| async move {
        std::thread::sleep(Duration::from_secs(14));
        stop.cancelled().await;
    });
    let stuck = r#"natter_worker_stuck{worker="blocking"}"#;
    until(async || one.sample(stuck).as_deref() == Some("1")).await;
    until(async || one.sample(stuck).as_deref() == Some("0")).await;
}
