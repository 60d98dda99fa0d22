//! Jobs with an order key: one after the other, in the order of their commits.

use super::*;

async fn in_order(one: &Instance, name: &(impl ToString + ?Sized), key: &str) {
    one.enqueue(&note(name), one.now().in_order(key)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_one_key_run_in_the_order_of_enqueueing() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let other = Instance::start(&app, notes(), &bench).await;
    for n in 0..15 {
        in_order([&one, &other][n % 2], &n, "key").await;
    }
    done(&app, "note").await;
    assert_eq!(bench.ran().await, (0..15).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(bench.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failure_holds_the_next_ones_back_and_other_keys_go_on() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    bench.failures.store(1, Ordering::SeqCst);
    let one = Instance::start(&app, notes(), &bench).await;
    in_order(&one, "first", "key").await;
    bench.begun(1).await;
    in_order(&one, "second", "key").await;
    in_order(&one, "another", "other key").await;
    bench.begun(2).await;
    assert_eq!(bench.ran().await, ["first", "another"]);
    app.advance(Duration::from_secs(2));
    done(&app, "note").await;
    assert_eq!(bench.ran().await, ["first", "another", "first", "second"]);
}

#[tokio::test]
async fn a_dead_letter_lets_the_next_one_run_and_comes_back_behind() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    bench.failures.store(3, Ordering::SeqCst);
    let one = Instance::start(&app, notes(), &bench).await;
    in_order(&one, "first", "key").await;
    in_order(&one, "second", "key").await;
    until(async || {
        app.advance(Duration::from_secs(5));
        count(&app, doc! { "kind": "note", "state": { "$ne": "dead" } }).await == 0
    })
    .await;
    assert_eq!(bench.ran().await, ["first", "first", "first", "second"]);
    let body = async |tx: &mut Tx| {
        let revived = tx.jobs().revive_some("note", app.clock().now()).await?;
        tx.jobs().enqueue(&note("third"), one.now().in_order("key")).await?;
        Ok(revived)
    };
    assert_eq!(one.store.transact(body).await.expect("revived"), 1);
    done(&app, "note").await;
    assert_eq!(bench.ran().await[4..], ["first", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_stays_blocked_behind_one_that_ends_at_that_moment() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let other = Instance::start(&app, notes(), &bench).await;
    let enqueued = (0..8).map(|lane| {
        let instance = [&one, &other][lane % 2];
        async move {
            for n in 0..6 {
                in_order(instance, &(lane * 10 + n), "key").await;
            }
        }
    });
    join_all(enqueued).await;
    done(&app, "note").await;
    let ran = bench.ran().await;
    assert_eq!((ran.len(), bench.most.load(Ordering::SeqCst)), (48, 1));
    // Of one task each is committed before the next begins.
    for lane in 0..8 {
        let lane: Vec<usize> = ran
            .iter()
            .map(|name| name.parse().expect("a number"))
            .filter(|name: &usize| name / 10 == lane)
            .collect();
        assert!(lane.is_sorted(), "{lane:?}");
    }
}

#[tokio::test]
async fn jobs_of_an_account_are_deleted_with_it() {
    let (app, bench) = (TestApp::spawn().await, Bench::new());
    let one = Instance::start(&app, notes(), &bench).await;
    let later = app.clock().now().plus(Duration::from_mins(10));
    let (ada, bob) = (UserId::random(), UserId::random());
    for (n, user) in [ada, bob, ada, bob].into_iter().enumerate() {
        one.enqueue(&note(&n), one.now().due(later).of_user(user).in_order("key")).await;
    }
    let body = async |tx: &mut Tx| tx.jobs().delete_of(ada).await;
    one.store.transact(body).await.expect("deleted");
    app.advance(Duration::from_mins(10));
    done(&app, "note").await;
    assert_eq!(bench.ran().await, ["1", "3"]);
}
