//! Rate limits: each request is charged exactly once, and a spent quota holds everywhere.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use natter::config::{Quota, Settings};
use natter::internals::domain::UserId;
use natter::internals::filters::{Access, Body, Class, Endpoint};
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::{as_json, filled, label, padded, refused, request};
use crate::support::{Actor, Answer, TestApp};

/// The media type of a form with the boundary `x`.
const FORM: &str = "multipart/form-data; boundary=x";

/// Settings that grant this much an hour in each class.
fn quotas(limit: u32) -> impl Fn(&mut Settings) {
    let limit = NonZeroU32::new(limit).expect("not zero");
    let quota = Some(Quota { limit, window: Duration::from_hours(1) });
    move |settings| {
        let limits = &mut settings.limits;
        for class in [
            &mut limits.auth,
            &mut limits.read,
            &mut limits.write,
            &mut limits.upload,
            &mut limits.search,
            &mut limits.socket,
        ] {
            *class = quota;
        }
    }
}

/// What is left of each quota, as the answers tell it.
#[derive(Default)]
struct Meter {
    left: HashMap<(&'static str, &'static str), u32>,
}

impl Meter {
    /// Expects that this request of `subject` has moved its quota by exactly one.
    fn moved(
        &mut self,
        row: &Endpoint,
        sent: &HeaderMap,
        subject: &'static str,
        answer: &Answer,
        quota: u32,
    ) {
        let what = format!("{} as {subject}: {}", label(row), answer.text());
        let is_form = sent.get("content-type").is_some_and(|it| it == FORM);
        let class = match row.body {
            Body::JsonOrMultipart { .. } if is_form => Some(Class::Upload),
            _ => row.class,
        };
        let Some(class) = class else {
            assert_eq!(answer.header("ratelimit"), "", "{what}");
            return;
        };
        let name = class.name();
        let policy = format!("\"{name}\";q={quota};w=3600");
        assert_eq!(answer.header("ratelimit-policy"), policy, "{what}");
        let state = answer.header("ratelimit").strip_prefix(&format!("\"{name}\";r="));
        let (left, reset) = state.and_then(|rest| rest.split_once(";t=")).expect(&what);
        let left: u32 = left.parse().expect("a number");
        assert!((1..=3600).contains(&reset.parse::<u64>().expect("seconds")), "{what}");
        if let Some(before) = self.left.insert((name, subject), left) {
            assert_eq!(left, before - 1, "{what}");
        }
    }
}

/// Requests of one row that end in many ways.
fn attempts(app: &TestApp, caller: &Actor, row: &Endpoint) -> Vec<RequestBuilder> {
    let ask = || request(app, caller, row);
    let mut attempts = vec![ask(), ask().body("{}"), as_json(ask(), "{"), as_json(ask(), "{}")];
    attempts.push(as_json(ask(), padded(200_000)));
    for body in ["", "--x--"] {
        attempts.push(ask().header("content-type", FORM).body(body));
    }
    if row.verb.as_str() == "GET" {
        attempts.push(caller.request("GET", &format!("{}?limit=0", filled(row))));
        attempts.push(caller.request("HEAD", &filled(row)));
    }
    attempts
}

#[tokio::test]
async fn each_request_is_charged_once_whatever_comes_of_it() {
    const QUOTA: u32 = 5000;
    let app = TestApp::with(quotas(QUOTA)).await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let mut meter = Meter::default();
    // Signing out answers once and ends the session, which the others need.
    for row in natter::internals::table().into_iter().filter(|row| row.path != "/logout") {
        let subject = if row.access == Access::Public { "the address" } else { "ada" };
        for instance in [&app, &second] {
            let ada = instance.seen_by(&ada);
            let nobody = |request: RequestBuilder| request.header("authorization", "Bearer x");
            let mut sent: Vec<_> =
                attempts(instance, &ada, &row).into_iter().map(|it| (subject, it)).collect();
            let (verb, path) = (row.verb.as_str(), filled(&row));
            let bare = || instance.request(verb, &path);
            sent.push(("the address", bare()));
            sent.push(("the address", nobody(bare().header("content-type", FORM))));
            for (subject, attempt) in sent {
                let headers = attempt.try_clone().expect("no stream").build().expect("a request");
                let answer = Answer::of(attempt).await;
                meter.moved(&row, headers.headers(), subject, &answer, QUOTA);
            }
            let options = Answer::of(ada.request("OPTIONS", &path)).await;
            assert_eq!(options.header("ratelimit"), "", "{}", label(&row));
        }
    }
}

#[tokio::test]
async fn a_spent_quota_is_429_for_every_row_of_its_class_on_every_instance() {
    let app = TestApp::with(quotas(4)).await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let elsewhere = second.seen_by(&ada);
    for (path, verb) in [("/notifications", "GET"), ("/messages", "POST")] {
        for _ in 0..2 {
            assert_ne!(Answer::of(ada.request(verb, path)).await.status, 429);
            assert_ne!(Answer::of(elsewhere.request(verb, path)).await.status, 429);
        }
    }
    for _ in 0..4 {
        Answer::of(app.request("GET", "/notifications")).await;
        Answer::of(app.request("POST", "/messages")).await;
        app.post("/login", json!({})).await;
    }
    for row in natter::internals::table() {
        let spent =
            row.class.is_some_and(|class| ["read", "write", "auth"].contains(&class.name()));
        for instance in [&app, &second].into_iter().filter(|_| spent) {
            let ask = request(instance, &instance.seen_by(&ada), &row);
            let forged =
                ask.header("x-forwarded-for", "198.51.100.7").header("forwarded", "for=1.2.3.4");
            let answer = refused(as_json(forged, "{"), 429, "rate_limited", &label(&row)).await;
            let wait: u64 = answer.header("retry-after").parse().expect("seconds");
            assert_eq!(wait, 900, "{}", label(&row));
            assert!(answer.header("ratelimit").contains(";r=0;t=3600"), "{}", label(&row));
            let nobody = instance.request(row.verb.as_str(), &filled(&row));
            refused(nobody.bearer_auth("x"), 429, "rate_limited", &label(&row)).await;
        }
    }
}

#[tokio::test]
async fn what_applies_first_is_the_answer() {
    let app = TestApp::with(quotas(9)).await;
    let ada = app.user("ada").await;
    let long = || padded(200_000);
    let post = || ada.request("POST", "/messages");
    let text = |request: RequestBuilder| request.header("content-type", "text/plain").body(long());
    refused(text(app.request("POST", "/messages/")), 404, "not_found", "no such path").await;
    let answer = refused(text(app.request("DELETE", "/messages")), 405, "method_not_allowed", "");
    assert_eq!(answer.await.header("allow"), "POST, OPTIONS");
    refused(text(app.request("POST", "/messages")), 401, "missing_token", "nobody").await;
    let twice = post().header("authorization", format!("Bearer {}", ada.token));
    refused(text(twice), 401, "invalid_token", "two tokens").await;
    refused(text(post()), 415, "unsupported_media_type", "text, too long").await;
    let mut broken = long();
    broken.push(b'{');
    refused(as_json(post(), broken), 413, "payload_too_large", "too long, no JSON").await;
    refused(as_json(post(), r#"{"message":7"#), 400, "malformed_json", "no JSON, wrong type").await;
    let wrong = json!({"message": 7, "recipient_user_id": UserId::random()});
    refused(post().json(&wrong), 422, "validation_failed", "wrong type, nobody there").await;
    let right = json!({"message": "hi", "recipient_user_id": UserId::random()});
    refused(post().json(&right), 404, "not_found", "nobody there").await;
    for _ in 0..4 {
        post().send().await.expect("an answer");
    }
    refused(text(post()), 429, "rate_limited", "spent, text, too long").await;
}
