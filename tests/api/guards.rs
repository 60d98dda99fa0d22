//! The guard of a route alone: tokens good and bad, and whom a request is charged to.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use natter::Error;
use natter::config::{Limits, Quota};
use natter::internals::domain::{
    Clock, Device, Email, NewAccount, Session, SessionId, UserId, Username,
};
use natter::internals::filters::{
    Caller, Class, Endpoint, Guards, Proxies, RateLimits, RequestContext,
};
use natter::internals::services::{Access, SessionCache};
use natter::internals::store::{Repositories, Tx};
use natter::internals::{Metrics, Redis};
use serde_json::{Value, json};
use warp::filters::BoxedFilter;

use crate::support::Scratch;

const ISSUER: &str = "https://natter.test";
const ROW: Endpoint = Endpoint::get("/things", Class::Read);

/// A guarded route, and everything that its tokens are made of.
struct Door {
    guard: BoxedFilter<((), Caller)>,
    clock: Clock,
    access: Arc<Access>,
    repositories: Repositories,
    key: Ed25519KeyPair,
    _scratch: Scratch,
}

impl Door {
    /// With this many reads per hour; counted here only, as if Redis were away.
    async fn with_quota(limit: u32) -> Self {
        let scratch = Scratch::new().await;
        let clock = Clock::manual();
        let repositories = Repositories::new(scratch.store(), 1);
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let live = Arc::new(SessionCache::new(repositories.active_sessions.clone(), &clock));
        let access = Access::new(ISSUER, pkcs8.as_ref(), &clock, live);
        let access = Arc::new(access.expect("a key"));
        let read = limit.try_into().ok().map(|limit| Quota { limit, window: HOUR });
        let limits =
            Limits { auth: None, read, write: None, upload: None, search: None, socket: None };
        let metrics = Metrics::new(clock.now()).expect("metrics");
        let mut nowhere = natter::config::Settings::defaults().redis;
        nowhere.url = natter::config::Secret::new("redis://127.0.0.1:1");
        let redis = Redis::new(&nowhere, &metrics).expect("a URL");
        let limits = Arc::new(RateLimits::new(&limits, &clock, redis));
        let guards = Guards::new(limits, access.clone(), Proxies::default());
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let guard = guards.caller::<()>(&ROW);
        Self { guard, clock, access, repositories, key, _scratch: scratch }
    }

    async fn session(&self) -> Session {
        let (id, now) = (UserId::random(), self.clock.now());
        let name = format!("u{}", &id.to_string()[..8]);
        let account = NewAccount {
            id,
            username: Username::parse(&name).expect("a name"),
            email: Email::parse(&format!("{name}@example.com")).expect("an address"),
            password_hash: "$2b$04$".to_owned(),
        };
        let device = Device { ip: [192, 0, 2, 1].into(), user_agent: None };
        let session = SessionId::random();
        let begun = self.repositories.store.transact(async move |tx: &mut Tx| {
            tx.users().insert(&account, true, now).await?;
            tx.sessions().begin(session, id, &device, now).await
        });
        begun.await.expect("a session")
    }

    fn issue(&self, session: &Session) -> String {
        self.access.issue(session).expect("a token").token
    }

    /// The caller, or the code of the refusal.
    async fn knock(&self, authorization: &[&str]) -> Result<Caller, &'static str> {
        self.knock_at("/things", authorization, "192.0.2.1").await
    }

    async fn knock_at(
        &self,
        path: &str,
        authorization: &[&str],
        from: &str,
    ) -> Result<Caller, &'static str> {
        let context = RequestContext::new(Some(from.parse().expect("an address")), None);
        let mut request = warp::test::request().path(path).extension(Arc::new(context));
        for line in authorization {
            request = request.header("authorization", *line);
        }
        let answer = request.filter(&self.guard).await;
        answer.map(|((), caller)| caller).map_err(|rejection| {
            let error = rejection.find::<Error>();
            error.expect("one of ours").code()
        })
    }

    async fn show(&self, token: &str) -> Result<Caller, &'static str> {
        self.knock(&[&format!("Bearer {token}")]).await
    }

    /// The claims of a good token, to be changed.
    fn claims(&self, session: &Session) -> Value {
        let now = self.clock.now().seconds();
        json!({"iss": ISSUER, "sub": session.user, "sid": session.id, "jti": "1",
               "iat": now, "exp": now + 3600})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |text| self.key.sign(text).as_ref().to_vec())
    }
}

const HOUR: Duration = Duration::from_hours(1);

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

#[tokio::test]
async fn a_good_token_names_its_caller() {
    let door = Door::with_quota(0).await;
    let session = door.session().await;
    let caller = door.show(&door.issue(&session)).await.expect("let in");
    assert_eq!((caller.user, caller.session), (session.user, session.id));
    assert_eq!(caller.client.addr.to_string(), "192.0.2.1");
    let token = door.sign(&json!({"alg": "EdDSA"}), &door.claims(&session));
    assert!(door.show(&token).await.is_ok(), "the forgeries differ from this one only");
    assert!(door.knock(&[&format!("bEARER {token}")]).await.is_ok());
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let door = Door::with_quota(0).await;
    let session = door.session().await;
    let (claims, eddsa) = (door.claims(&session), json!({"alg": "EdDSA", "typ": "JWT"}));
    let mut forged = vec![signed(&json!({"alg": "none"}), &claims, |_| Vec::new())];
    forged.push(door.sign(&json!({"alg": "none"}), &claims));
    forged.push(signed(&json!({"alg": "None", "typ": "JWT"}), &claims, |_| Vec::new()));
    let public = door.key.public_key().as_ref();
    let jwks = serde_json::to_string(&door.access.jwks()).expect("JSON");
    for secret in [public, URL_SAFE_NO_PAD.encode(public).as_bytes(), jwks.as_bytes(), b""] {
        for alg in ["HS256", "EdDSA"] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let mac = |text: &[u8]| hmac::sign(&key, text).as_ref().to_vec();
            forged.push(signed(&json!({"alg": alg, "typ": "JWT"}), &claims, mac));
        }
    }
    let foreign = Ed25519KeyPair::generate().expect("a key");
    let by_foreign = |text: &[u8]| foreign.sign(text).as_ref().to_vec();
    let x = URL_SAFE_NO_PAD.encode(foreign.public_key().as_ref());
    let own_key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    forged.push(signed(&eddsa, &claims, by_foreign));
    forged.push(signed(&json!({"alg": "EdDSA", "jwk": own_key}), &claims, by_foreign));
    let good = door.issue(&session);
    let (text, signature) = good.rsplit_once('.').expect("three parts");
    let (head, _) = text.split_once('.').expect("three parts");
    let mut other = claims.clone();
    other["sub"] = json!(UserId::random());
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    forged.push(format!("{head}.{other}.{signature}"));
    forged.push(format!("{text}."));
    forged.push(format!("{good}=="));
    forged.push(format!("{good}.{signature}"));
    for token in forged {
        assert_eq!(door.show(&token).await, Err("invalid_token"), "{token}");
    }
}

#[tokio::test]
async fn claims_must_be_whole_and_ours() {
    let door = Door::with_quota(0).await;
    let session = door.session().await;
    let change = |name: &str, value: Value| {
        let mut claims = door.claims(&session);
        claims[name] = value;
        door.sign(&json!({"alg": "EdDSA"}), &claims)
    };
    for (name, value) in [
        ("iss", json!("https://elsewhere.test")),
        ("iss", json!([ISSUER, "x"])),
        ("sub", json!({"$ne": null})),
        ("sid", json!("not-an-id")),
        ("exp", json!("9999999999")),
    ] {
        assert_eq!(door.show(&change(name, value)).await, Err("invalid_token"), "{name}");
    }
    for name in ["iss", "sub", "sid", "jti", "iat", "exp"] {
        let mut claims = door.claims(&session);
        claims.as_object_mut().expect("an object").remove(name);
        let token = door.sign(&json!({"alg": "EdDSA"}), &claims);
        assert_eq!(door.show(&token).await, Err("invalid_token"), "without {name}");
        let token = change(name, Value::Null);
        assert_eq!(door.show(&token).await, Err("invalid_token"), "{name} is null");
    }
    let strange = change("sub", json!(UserId::random()));
    assert_eq!(door.show(&strange).await, Err("session_revoked"), "another's session");
    let strange = change("sid", json!(SessionId::random()));
    assert_eq!(door.show(&strange).await, Err("session_revoked"), "no session");
    assert_eq!(door.show(&change("exp", json!(0))).await, Err("token_expired"));
    for exp in [json!(-1), json!(1e300)] {
        assert_eq!(door.show(&change("exp", exp)).await, Err("invalid_token"));
    }
}

#[tokio::test]
async fn a_token_expires_at_its_second_and_ends_with_its_session() {
    let door = Door::with_quota(0).await;
    let session = door.session().await;
    let issued = door.access.issue(&session).expect("a token");
    let left = issued.expires_at * 1000 - door.clock.now().millis();
    door.clock.advance(Duration::from_millis(u64::try_from(left).expect("to come") - 1));
    assert!(door.show(&issued.token).await.is_ok());
    door.clock.advance(Duration::from_millis(1));
    assert_eq!(door.show(&issued.token).await, Err("token_expired"));
    let session = door.session().await;
    let token = door.issue(&session);
    assert!(door.show(&token).await.is_ok());
    assert!(
        door.repositories.store.sessions().end(session.id, session.user).await.expect("an answer")
    );
    assert_eq!(door.show(&token).await, Err("session_revoked"));
}

#[tokio::test]
async fn only_one_bearer_header_counts() {
    let door = Door::with_quota(0).await;
    let token = door.issue(&door.session().await);
    let bearer = format!("Bearer {token}");
    assert_eq!(door.knock(&[]).await, Err("missing_token"));
    for other in ["", "Bearer", "Basic YTpi", &token, &format!("Token {token}")] {
        assert_eq!(door.knock(&[other]).await, Err("missing_token"), "{other}");
    }
    for garbage in ["Bearer ", "Bearer .", "Bearer ..", "Bearer a.b.c", "Bearer null"] {
        assert_eq!(door.knock(&[garbage]).await, Err("invalid_token"), "{garbage}");
    }
    assert_eq!(door.knock(&[&format!("{bearer}, {bearer}")]).await, Err("invalid_token"));
    for query in ["token", "access_token", "authorization"] {
        let path = format!("/things?{query}={token}");
        assert_eq!(door.knock_at(&path, &[], "192.0.2.1").await, Err("missing_token"), "{query}");
    }
}

#[tokio::test]
async fn accounts_pay_for_themselves_and_addresses_for_bad_tokens() {
    let door = Door::with_quota(2).await;
    let ada = format!("Bearer {}", door.issue(&door.session().await));
    let bob = format!("Bearer {}", door.issue(&door.session().await));
    assert_eq!(door.show("x").await, Err("invalid_token"));
    assert_eq!(door.knock(&["Basic x"]).await, Err("missing_token"));
    assert_eq!(door.show("x").await, Err("rate_limited"));
    assert_eq!(door.knock(&[]).await, Err("rate_limited"));
    assert_eq!(door.knock_at("/things", &["Bearer x"], "192.0.2.2").await, Err("invalid_token"));
    // A spent address stops nobody who has a token, and an account is one from everywhere.
    assert!(door.knock(&[&ada]).await.is_ok());
    assert!(door.knock_at("/things", &[&ada], "192.0.2.9").await.is_ok());
    assert_eq!(door.knock_at("/things", &[&ada], "192.0.2.10").await, Err("rate_limited"));
    assert!(door.knock(&[&bob]).await.is_ok());
    door.clock.advance(HOUR / 2);
    assert!(door.knock(&[&ada]).await.is_ok());
    assert_eq!(door.knock(&[&ada]).await, Err("rate_limited"));
}

/// What a spent address costs: nothing, but for so many signatures a second of all of them.
#[tokio::test]
async fn a_spent_address_is_refused_unseen_unless_the_token_is_known() {
    let door = Door::with_quota(2).await;
    let (ada, bob) = (door.session().await, door.session().await);
    let (known, new) = (door.issue(&ada), door.issue(&bob));
    assert!(door.show(&known).await.is_ok());
    for code in ["invalid_token", "invalid_token", "rate_limited"] {
        assert_eq!(door.show("x").await, Err(code));
    }
    // Many bad tokens, until none is looked at any more.
    for n in 0..400 {
        assert_eq!(door.show(&format!("{n}")).await, Err("rate_limited"));
    }
    assert_eq!(door.show(&new).await, Err("rate_limited"));
    assert!(door.knock_at("/things", &[&format!("Bearer {new}")], "192.0.2.2").await.is_ok());
    assert!(door.show(&known).await.is_ok());
    assert!(door.show(&new).await.is_ok(), "verified from elsewhere");
    door.clock.advance(Duration::from_secs(1));
    assert!(door.show(&door.issue(&door.session().await)).await.is_ok(), "a moment later");
}

#[tokio::test]
async fn a_token_of_an_ended_session_is_known_to_be_bad() {
    let door = Door::with_quota(2).await;
    let session = door.session().await;
    let token = door.issue(&session);
    assert!(door.show(&token).await.is_ok());
    assert!(
        door.repositories.store.sessions().end(session.id, session.user).await.expect("an answer")
    );
    assert_eq!(door.show(&token).await, Err("session_revoked"));
    assert!(!door.access.is_known(&token));
    assert_eq!(door.show(&token).await, Err("session_revoked"));
    assert_eq!(door.show(&token).await, Err("rate_limited"));
}
