//! What `natter check` finds out about MongoDB: whether it is one that natter can use, and whether
//! its user may do there what natter does. All writing is tried in transactions that are aborted,
//! so nothing of it stays.

use std::fmt::Display;
use std::time::Duration;

use mongodb::bson::{Document, Timestamp as Stamp, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Database};
use tokio::time::timeout;

use super::schema;
use super::schema::Step;
use super::{DEADLINE, META, Store, server_code};
use crate::domain::clock::{Clock, Timestamp, random_bytes};
use crate::domain::findings::Finding;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A difference between two clocks that ends nothing, and that a person should know of.
const CLOCK: i64 = 1000;

/// A server that lets transactions last longer, in seconds, keeps those of a killed instance.
const LONGEST_TRANSACTION: u64 = 10;

/// As long as logs of events are kept: an oplog that reaches back less far loses some of them when
/// natter is stopped for longer.
const OPLOG_HOURS: u64 = 24;

/// Findings about a store, in order; the list ends early where no further check can run.
pub async fn findings(store: &Store, shards: u32) -> Vec<Finding> {
    let asked = patiently(store.admin().run_command(doc! { "hello": 1 })).await;
    let hello = match asked {
        Ok(hello) => hello,
        Err(error) => return vec![Finding::fail("mongodb", error)],
    };
    let now = Clock::system().now();
    let mut findings = vec![server(store, &hello).await];
    findings.extend(clock(&hello, now));
    let missing = missing_rights(store).await;
    let may_work = missing.as_ref().is_ok_and(Vec::is_empty);
    findings.push(match missing {
        Ok(missing) if missing.is_empty() => {
            Finding::ok("mongodb.rights", "the user may do all that natter does")
        }
        Ok(missing) => Finding::fail("mongodb.rights", format!("missing: {}", missing.join(", "))),
        Err(error) => Finding::fail("mongodb.rights", error),
    });
    if may_work {
        findings.push(transactions(store).await);
    }
    findings.push(oplog(store, &hello, now).await);
    findings.push(indexes(store, shards).await);
    findings
}

async fn patiently<T>(call: impl IntoFuture<Output = Result<T, DriverError>>) -> Result<T, String> {
    match timeout(CHECK_TIMEOUT, Box::pin(call.into_future())).await {
        Ok(answer) => answer.map_err(|error| reason(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// The driver's reason: it names servers, and no password.
fn reason(error: &impl Display) -> String {
    let reason = error.to_string();
    reason.strip_prefix("Kind: ").unwrap_or(&reason).to_owned()
}

async fn server(store: &Store, hello: &Document) -> Finding {
    let about = patiently(store.admin().run_command(doc! { "buildInfo": 1 })).await;
    let version = about.as_ref().ok().and_then(|about| about.get_str("version").ok());
    let version = version.unwrap_or("of an unknown version");
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Finding::ok("mongodb", format!("mongos, MongoDB {version}"));
    }
    let Ok(set) = hello.get_str("setName") else {
        let says = "a single server; natter needs a replica set, or mongos";
        return Finding::fail("mongodb", says);
    };
    match hello.get_str("primary") {
        Ok(primary) => {
            let says = format!("replica set {set}, primary {primary}, MongoDB {version}");
            Finding::ok("mongodb", says)
        }
        Err(_) => Finding::fail("mongodb", format!("replica set {set} has no primary")),
    }
}

fn clock(hello: &Document, now: Timestamp) -> Option<Finding> {
    let theirs = hello.get_datetime("localTime").ok()?;
    Some(compared("mongodb.clock", theirs.timestamp_millis() - now.millis()))
}

/// A line about a clock that is so many milliseconds ahead of ours.
#[must_use]
pub fn compared(what: &'static str, ahead: i64) -> Finding {
    let says = format!("{} ms {} this machine's clock", ahead.abs(), side(ahead));
    if ahead.abs() > CLOCK { Finding::warn(what, says) } else { Finding::ok(what, says) }
}

fn side(ahead: i64) -> &'static str {
    if ahead < 0 { "behind" } else { "ahead of" }
}

/// The actions of a role that natter's user lacks.
async fn missing_rights(store: &Store) -> Result<Vec<&'static str>, String> {
    let database = store.database();
    let rows = database.collection::<Document>(META);
    let name = format!("check_{:016x}", u64::from_be_bytes(random_bytes()));
    let (own, change) = (doc! { "_id": &name }, doc! { "$set": { "at": 1 } });
    let index = doc! { "key": { "at": 1 }, "name": "at" };
    let commands = [
        ("find", doc! { "find": META, "filter": own.clone(), "limit": 1 }),
        ("insert", doc! { "insert": META, "documents": [own.clone()] }),
        ("update", doc! { "update": META, "updates": [{ "q": own.clone(), "u": change }] }),
        ("remove", doc! { "delete": META, "deletes": [{ "q": own, "limit": 1 }] }),
        ("createCollection", doc! { "create": &name }),
        ("createIndex", doc! { "createIndexes": &name, "indexes": [index] }),
    ];
    let mut missing = Vec::new();
    for (action, command) in commands {
        let tried = timeout(CHECK_TIMEOUT, Box::pin(try_and_abort(database, command))).await;
        let refused = tried.map_err(|_| "no answer in time".to_owned())?;
        missing.extend(is_missing(refused)?.then_some(action));
    }
    let others = async {
        [
            ("collMod", database.run_command(doc! { "collMod": META }).await.map(drop)),
            ("listCollections", database.list_collection_names().await.map(drop)),
            ("listIndexes", rows.list_index_names().await.map(drop)),
            ("changeStream", database.watch().await.map(drop)),
        ]
    };
    let others = timeout(2 * CHECK_TIMEOUT, Box::pin(others)).await;
    for (action, tried) in others.map_err(|_| "no answer in time".to_owned())? {
        missing.extend(is_missing(tried)?.then_some(action));
    }
    Ok(missing)
}

async fn try_and_abort(database: &Database, command: Document) -> Result<(), DriverError> {
    let mut session: ClientSession = database.client().start_session().await?;
    // Collections can only be made in transactions that read so.
    session.start_transaction().read_concern(ReadConcern::local()).await?;
    let tried = database.run_command(command).session(&mut session).await;
    let _ = session.abort_transaction().await;
    tried.map(drop)
}

/// Whether an answer says that something is not allowed (13, `Unauthorized`). That a collection is
/// not there yet (26) is none of rights.
fn is_missing(tried: Result<(), DriverError>) -> Result<bool, String> {
    let Err(error) = tried else { return Ok(false) };
    match server_code(&error) {
        Some(13) => Ok(true),
        Some(26) => Ok(false),
        _ => Err(reason(&error)),
    }
}

async fn transactions(store: &Store) -> Finding {
    let what = "mongodb.transactions";
    let name = "transactionLifetimeLimitSeconds";
    let asked = patiently(store.admin().run_command(doc! { "getParameter": 1, name: 1 })).await;
    let seconds = asked.ok().and_then(|answer| {
        let seconds = answer.get(name)?;
        seconds.as_i64().or_else(|| seconds.as_i32().map(i64::from))
    });
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) if seconds <= DEADLINE.as_secs() => {
            let says = format!("{name} is {seconds}; natter's may take {} s", DEADLINE.as_secs());
            Finding::warn(what, says)
        }
        Some(seconds) if seconds > LONGEST_TRANSACTION => {
            let says = format!(
                "{name} is {seconds}: for so long, what an instance that was killed had touched \
                 answers 503; 5 is right"
            );
            Finding::warn(what, says)
        }
        Some(seconds) => Finding::ok(what, format!("work; each may take {seconds} s")),
        None => Finding::ok(what, "work; how long each may take is not shown to natter's user"),
    }
}

async fn oplog(store: &Store, hello: &Document, now: Timestamp) -> Finding {
    let what = "mongodb.oplog";
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Finding::ok(what, "each shard has its own: look at those");
    }
    let local = store.admin().client().database("local");
    let rows = local.collection::<Document>("oplog.rs");
    let oldest = patiently(rows.find_one(doc! {}).sort(doc! { "$natural": 1 })).await;
    let Ok(oldest) = oldest else {
        let says = "its window is not shown to natter's user (it needs the role clusterMonitor \
                    and to read local): see that it is 24 h at least";
        return Finding::ok(what, says);
    };
    let first = oldest.and_then(|row| row.get_timestamp("ts").ok());
    let Some(Stamp { time, .. }) = first else { return Finding::fail(what, "there is none") };
    let seconds = u64::try_from(now.millis() / 1000).unwrap_or(0).saturating_sub(time.into());
    let hours = seconds / 3600;
    let stats = patiently(local.run_command(doc! { "collStats": "oplog.rs" })).await;
    let number = |name: &str| {
        let value = stats.as_ref().ok()?.get(name)?;
        value.as_i64().or_else(|| value.as_i32().map(i64::from))
    };
    let is_full = match (number("size"), number("maxSize")) {
        (Some(size), Some(most)) => size / 9 >= most / 10,
        _ => true,
    };
    if is_full && hours < OPLOG_HOURS {
        let says = format!(
            "reaches back {hours} h, less than {OPLOG_HOURS}: after a longer stop of natter, \
             clients are told that they may have missed something"
        );
        return Finding::warn(what, says);
    }
    let full = if is_full { "" } else { ", and is not full yet" };
    Finding::ok(what, format!("reaches back {hours} h{full}"))
}

async fn indexes(store: &Store, shards: u32) -> Finding {
    let what = "mongodb.indexes";
    let planned = timeout(2 * CHECK_TIMEOUT, Box::pin(schema::plan(store, shards))).await;
    let steps = match planned {
        Ok(Ok(steps)) => steps,
        Ok(Err(error)) => return Finding::fail(what, error.to_string()),
        Err(_) => return Finding::fail(what, "no answer in time"),
    };
    let is_reported = |step: &&Step| matches!(step, Step::Differs { .. } | Step::Unknown { .. });
    let reported = steps.iter().filter(is_reported).count();
    if reported > 0 {
        let says = format!(
            "{reported} of {} differ in a way that natter leaves alone: see `natter indexes plan`",
            schema::count(shards)
        );
        Finding::warn(what, says)
    } else if steps.is_empty() {
        Finding::ok(what, format!("all {} collections are as defined", schema::count(shards)))
    } else {
        Finding::ok(what, format!("{} steps to be done at the start", steps.len()))
    }
}
