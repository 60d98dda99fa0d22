//! Rate limits without HTTP: the shared counter, this instance's own, and both in step.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use natter::config::{Limits, Quota};
use natter::internals::domain::{Clock, UserId, random_bytes};
use natter::internals::filters::{Charge, Class, RateLimits, Subject};
use natter::internals::{Metrics, Redis};
use reqwest::header::HeaderMap;

use crate::support::app::service;

const HOUR: Duration = Duration::from_hours(1);

/// Where nothing listens.
const NOWHERE: &str = "redis://127.0.0.1:1";

const NONE: Limits =
    Limits { auth: None, read: None, write: None, upload: None, search: None, socket: None };

/// Counters of one instance, with this quota for reads.
fn limits(url: &str, prefix: &str, clock: &Clock, quota: (u32, u64)) -> RateLimits {
    measured(url, prefix, clock, quota).0
}

/// As [`limits`], with what is measured of them.
fn measured(
    url: &str,
    prefix: &str,
    clock: &Clock,
    (limit, seconds): (u32, u64),
) -> (RateLimits, Metrics) {
    let quota = Quota {
        limit: NonZeroU32::new(limit).expect("not zero"),
        window: Duration::from_secs(seconds),
    };
    let metrics = Metrics::new(clock.now()).expect("metrics");
    let (url, prefix) = (natter::config::Secret::new(url), prefix.to_owned());
    let settings = natter::config::Redis { url, prefix, tls_ca: None };
    let redis = Redis::new(&settings, &metrics).expect("a URL");
    (RateLimits::new(&Limits { read: Some(quota), ..NONE }, clock, redis), metrics)
}

/// Whether Redis answered each time, and in time: an instance to which it did not counts for
/// itself.
fn shared_all(metrics: &Metrics) -> bool {
    let text = metrics.text().expect("metrics");
    text.lines().any(|line| line == "natter_redis_failures_total 0")
}

fn prefix() -> String {
    format!("natter-test-{}:", u64::from_be_bytes(random_bytes()))
}

fn someone() -> Subject {
    Subject::Account(UserId::random())
}

/// What remains, or for how many milliseconds to stay away.
fn outcome(charge: Charge) -> Result<u32, u128> {
    let mut headers = HeaderMap::new();
    charge.write(&mut headers);
    let state = headers["ratelimit"].to_str().expect("ASCII");
    let remaining = state.split(';').find_map(|part| part.strip_prefix("r="));
    match charge.admit() {
        Ok(()) => Ok(remaining.expect("r=").parse().expect("a number")),
        Err(error) => {
            assert_eq!((error.code(), remaining), ("rate_limited", Some("0")));
            Err(error.retry_after().expect("a time").as_millis())
        }
    }
}

async fn read(limits: &RateLimits, subject: Subject) -> Result<u32, u128> {
    outcome(limits.charge(Class::Read, subject).await.expect("reads are limited"))
}

/// Five in ten seconds, to the millisecond.
async fn a_quota_is_exact(url: &str) {
    let clock = Clock::manual();
    let limits = limits(url, &prefix(), &clock, (5, 10));
    let ada = someone();
    for left in (0..5).rev() {
        assert_eq!(read(&limits, ada).await, Ok(left));
    }
    assert_eq!(read(&limits, ada).await, Err(2000));
    assert_eq!(read(&limits, someone()).await, Ok(4), "somebody else's");
    clock.advance(Duration::from_millis(1999));
    assert_eq!(read(&limits, ada).await, Err(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(read(&limits, ada).await, Ok(0));
    assert_eq!(read(&limits, ada).await, Err(2000), "a refusal costs nothing, nor gives anything");
    clock.advance(Duration::from_secs(5));
    assert_eq!(read(&limits, ada).await, Ok(1));
    clock.advance(Duration::from_hours(1));
    limits.forget_idle();
    assert_eq!(read(&limits, ada).await, Ok(4), "never more than the quota");
}

#[tokio::test]
async fn the_shared_quota_is_exact() {
    a_quota_is_exact(&service("NATTER_REDIS__URL")).await;
}

#[tokio::test]
async fn without_redis_this_instances_quota_is_exact() {
    a_quota_is_exact(NOWHERE).await;
}

#[tokio::test]
async fn instances_share_one_quota_under_parallel_requests() {
    let (clock, url) = (Clock::manual(), service("NATTER_REDIS__URL"));
    // A machine that is busy enough keeps Redis from answering in time; then it is tried again.
    let mut tries = 0;
    let (outcomes, rest) = loop {
        tries += 1;
        assert!(tries < 20, "Redis never answered in time");
        let prefix = prefix();
        let (instances, metrics): (Vec<_>, Vec<_>) =
            (0..3).map(|_| measured(&url, &prefix, &clock, (20, 3600))).unzip();
        // Opens the connections.
        join_all((0..60).map(|number| read(&instances[number % 3], someone()))).await;
        let ada = someone();
        let outcomes = join_all((0..60).map(|number| read(&instances[number % 3], ada))).await;
        let rest = join_all(instances.iter().map(|instance| read(instance, ada))).await;
        if metrics.iter().all(shared_all) {
            break (outcomes, rest);
        }
    };
    let left: BTreeSet<u32> = outcomes.iter().filter_map(|outcome| outcome.ok()).collect();
    assert_eq!(left, (0..20).collect(), "each charge is counted once: {outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 40);
    assert_eq!(rest, [Err(180_000); 3]);
}

/// Both counters run one algorithm: over odd quotas and random pauses they decide alike.
#[tokio::test]
async fn the_shared_counter_and_the_local_one_agree() {
    for quota in [(1, 1), (3, 1), (7, 10), (1000, 1), (4999, 3)] {
        let clock = Clock::manual();
        let shared = limits(&service("NATTER_REDIS__URL"), &prefix(), &clock, quota);
        let local = limits(NOWHERE, &prefix(), &clock, quota);
        let ada = someone();
        for step in 0..200 {
            let (here, there) = (read(&local, ada).await, read(&shared, ada).await);
            assert_eq!(here, there, "{quota:?}, step {step}");
            let [pause] = random_bytes();
            let cost = 1000 * quota.1 / u64::from(quota.0);
            clock.advance(Duration::from_millis(u64::from(pause) * 2 * cost / 255));
        }
    }
}

/// An instance's clock is set back by an hour: quotas fill as before, and nobody gains one.
#[tokio::test]
async fn a_clock_set_back_stops_and_gives_nothing() {
    for url in [service("NATTER_REDIS__URL"), NOWHERE.to_owned()] {
        let clock = Clock::manual();
        let limits = limits(&url, &prefix(), &clock, (2, 10));
        let (ada, bob) = (someone(), someone());
        assert_eq!(read(&limits, ada).await, Ok(1));
        assert_eq!(read(&limits, ada).await, Ok(0));
        assert_eq!(read(&limits, bob).await, Ok(1));
        clock.set_back(HOUR);
        assert_eq!(read(&limits, ada).await, Err(5000), "{url}");
        assert_eq!(read(&limits, bob).await, Ok(0), "{url}");
        clock.advance(Duration::from_millis(4999));
        assert_eq!(read(&limits, ada).await, Err(1), "{url}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(read(&limits, ada).await, Ok(0), "{url}");
        clock.set_back(HOUR);
        clock.advance(Duration::from_secs(10));
        assert_eq!(read(&limits, ada).await, Ok(1), "{url}");
    }
}

/// Redis's own clock goes back by an hour, as after a failover: nobody waits for that hour.
#[tokio::test]
async fn redis_with_another_clock_stops_nobody_for_long() {
    let (before, after) = (Clock::manual(), Clock::manual());
    before.advance(HOUR);
    let (url, prefix) = (service("NATTER_REDIS__URL"), prefix());
    let first = limits(&url, &prefix, &before, (2, 10));
    let second = limits(&url, &prefix, &after, (2, 10));
    let (ada, bob) = (someone(), someone());
    assert_eq!(read(&first, ada).await, Ok(1));
    assert_eq!(read(&first, ada).await, Ok(0));
    assert_eq!(read(&first, bob).await, Ok(1));
    assert_eq!(read(&second, bob).await, Ok(0));
    assert_eq!(read(&second, ada).await, Err(5000), "as full as it was");
    after.advance(Duration::from_secs(5));
    assert_eq!(read(&second, ada).await, Ok(0));
    assert_eq!(read(&second, bob).await, Ok(0));
    after.advance(Duration::from_secs(10));
    assert_eq!(read(&second, ada).await, Ok(1));
}

/// Where no test moves the clock, Redis tells the time: instances whose clocks differ share a
/// quota.
#[tokio::test]
async fn redis_tells_the_time() {
    let (clock, url, prefix) = (Clock::system(), service("NATTER_REDIS__URL"), prefix());
    let (first, metrics) = measured(&url, &prefix, &clock, (2, 2));
    let (second, _) = measured(&url, &prefix, &clock, (2, 2));
    let ada = someone();
    assert_eq!(read(&first, ada).await, Ok(1));
    assert_eq!(read(&second, ada).await, Ok(0));
    let wait = read(&second, ada).await.expect_err("spent");
    assert!((1..=1000).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(read(&first, ada).await, Ok(0));
    assert!(shared_all(&metrics));
}

#[tokio::test]
async fn a_spent_address_is_known_without_asking() {
    let clock = Clock::manual();
    let limits = limits(&service("NATTER_REDIS__URL"), &prefix(), &clock, (1, 10));
    let address = Subject::address([192, 0, 2, 1].into());
    assert_eq!(limits.spent(Class::Read, address), None);
    assert_eq!(read(&limits, address).await, Ok(0));
    assert_eq!(limits.spent(Class::Read, address), None, "nobody was refused yet");
    assert_eq!(read(&limits, address).await, Err(10_000));
    clock.advance(Duration::from_secs(4));
    clock.set_back(HOUR);
    assert_eq!(limits.spent(Class::Read, address).map(outcome), Some(Err(6000)));
    assert_eq!(limits.spent(Class::Write, address), None);
    clock.advance(Duration::from_secs(6));
    assert_eq!(limits.spent(Class::Read, address), None);
    assert_eq!(read(&limits, address).await, Ok(0));
    let ada = someone();
    assert_eq!(read(&limits, ada).await, Ok(0));
    assert_eq!(read(&limits, ada).await, Err(10_000));
    assert_eq!(limits.spent(Class::Read, ada), None, "an account is counted, not remembered");
}

#[tokio::test]
async fn an_ipv6_subscriber_is_one_address() {
    let limits = limits(NOWHERE, "", &Clock::manual(), (2, 10));
    let from = |addr: &str| Subject::address(addr.parse().expect("an address"));
    assert_eq!(read(&limits, from("2001:db8:1:2::1")).await, Ok(1));
    assert_eq!(read(&limits, from("2001:db8:1:2:ffff:ffff:ffff:ffff")).await, Ok(0));
    assert_eq!(read(&limits, from("2001:db8:1:3::1")).await, Ok(1));
    assert_eq!(read(&limits, from("192.0.2.1")).await, Ok(1));
    assert_eq!(read(&limits, from("192.0.2.2")).await, Ok(1));
    assert_eq!(read(&limits, from("::ffff:192.0.2.1")).await, Ok(0), "the same in other clothes");
}

#[tokio::test]
async fn a_class_that_is_off_is_not_counted() {
    let limits = limits(NOWHERE, "", &Clock::manual(), (1, 10));
    for class in [Class::Auth, Class::Write, Class::Upload, Class::Search] {
        for _ in 0..3 {
            assert_eq!(limits.charge(class, someone()).await, None);
        }
    }
}

#[tokio::test]
async fn headers_say_quota_window_rest_and_time_until_whole() {
    let clock = Clock::manual();
    let limits = limits(&service("NATTER_REDIS__URL"), &prefix(), &clock, (5, 10));
    let ada = someone();
    let mut said = Vec::new();
    for _ in 0..7 {
        let mut headers = HeaderMap::new();
        limits.charge(Class::Read, ada).await.expect("limited").write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"read\";q=5;w=10");
        said.push(headers["ratelimit"].to_str().expect("ASCII").to_owned());
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(said[0], "\"read\";r=4;t=2");
    assert_eq!(said[1], "\"read\";r=3;t=4");
    assert_eq!(said[4..], ["\"read\";r=0;t=10"; 3]);
}
