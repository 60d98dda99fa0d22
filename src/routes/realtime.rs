//! Real time: `GET /ws`, `GET /events`, `GET /sync`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::any_of;
use super::bytes::shared;
use super::openapi::Docs;
use super::reply::OkJson;
use crate::domain::page::Limit;
use crate::domain::sessions::AuthenticatedSession;
use crate::error::{Error, Result};
use crate::filters::client::Client;
use crate::filters::context::{RequestContext, context};
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::handshake::{Handshake, handshake};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::realtime::connection::{ConnectRequest, serve};
use crate::realtime::wire::config;
use crate::realtime::{Close, Realtime, stream};
use crate::services::Services;
use crate::services::sync;
use crate::services::sync::SyncPage;

const WS: Endpoint = Endpoint::get("/ws", Class::Socket).later();
const EVENTS: Endpoint = Endpoint::get("/events", Class::Socket);
const SYNC: Endpoint = Endpoint::get("/sync", Class::Read);

/// How soon one with too many connections may ask again: whoever closes one has a place at once.
const TOO_MANY_WAIT: Duration = Duration::from_secs(5);

/// An event id.
const EXAMPLE: &str = "6922a1f00000000100000001";

pub(super) const ENDPOINTS: &[Endpoint] = &[WS, EVENTS, SYNC];

pub(super) fn routes(
    guards: &Guards,
    services: &Services,
    realtime: &Arc<Realtime>,
) -> BoxedFilter<(Response,)> {
    let ws = guards.visitor::<()>(&WS).and(query::<Since>()).and(handshake()).and(with(realtime));
    let ws = ws.then(socket).map(respond).boxed();
    let events = guards.caller::<()>(&EVENTS).and(query::<Since>()).and(last_event_id());
    let events = events.and(context()).and(with(realtime));
    let events = events.then(self::events).map(respond).boxed();
    let sync = guards.caller::<()>(&SYNC).and(query::<Wanted>()).and(with(&services.sync));
    let sync = sync.then(self::sync).map(respond).boxed();
    any_of([ws, events, sync])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag(
        "Real time",
        "Everything that happens, once and in order; its frames: /asyncapi.json.",
    );
    docs.route(&WS, "openSocket", "Open a WebSocket")
        .says(
            "The token goes into the header, or within 5 seconds into the first frame. With \
             `since`, all that was missed comes first, or nothing of it.",
        )
        .query("since", "The last event id that the client has.", event_id())
        .gives_nothing(101, "The protocol changes.")
        .fails(&["upgrade_required"]);
    docs.route(&EVENTS, "streamEvents", "Follow events without a socket")
        .says(
            "Server-sent events (WHATWG): each has the frame of a socket as its data, its type as \
             its event, and its id, by which a browser goes on by itself.",
        )
        .query("since", "The last event id that the client has.", event_id())
        .reads_header("Last-Event-ID", "The same; wins over `since`.", EXAMPLE)
        .gives_media(
            200,
            "Events, as they happen.",
            "text/event-stream",
            json!({"type": "string"}),
            json!("retry: 1000\n\nevent: ready\ndata: {\"type\":\"ready\"}\n\n"),
        );
    docs.route(&SYNC, "readEvents", "Read the event log")
        .says("The last 1000 events of at most 24 hours; all after `since`, or none.")
        .query("since", "The last event id that the client has.", event_id())
        .limit()
        .gives::<SyncPage>(200, "Events, the oldest first.");
}

fn event_id() -> serde_json::Value {
    json!({"type": "string", "examples": [EXAMPLE]})
}

/// Where to go on.
struct Since(Option<String>);

impl QueryInput for Since {
    fn read(query: &mut Query) -> Self {
        Self(query.text("since"))
    }
}

async fn socket(
    (): (),
    caller: Option<Caller>,
    client: Client,
    Since(since): Since,
    handshake: Option<Handshake>,
    realtime: Arc<Realtime>,
) -> Result<Response> {
    let handshake = handshake.ok_or_else(Error::upgrade_required)?;
    let pass = caller.as_ref().map(AuthenticatedSession::from);
    let request = ConnectRequest { pass, since, addr: client.addr };
    Ok(handshake.accept(config(), move |ws| serve(realtime, ws, request)))
}

/// What of the log is wanted.
struct Wanted {
    since: Option<String>,
    limit: Limit,
}

impl QueryInput for Wanted {
    fn read(query: &mut Query) -> Self {
        Self { since: query.text("since"), limit: query.limit() }
    }
}

async fn sync(
    (): (),
    caller: Caller,
    wanted: Wanted,
    sync: Arc<sync::Sync>,
) -> Result<OkJson<SyncPage>> {
    sync.page(caller.user, wanted.since.as_deref(), wanted.limit).await.map(OkJson)
}

/// Extracts `Last-Event-ID`; what is no UTF-8 in it is no id of ours anyway.
fn last_event_id()
-> impl Filter<Extract = (Option<String>,), Error = Infallible> + Copy + Send + Sync + 'static {
    warp::header::headers_cloned().map(|headers: HeaderMap| {
        let value = headers.get("last-event-id").filter(|value| !value.is_empty())?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    })
}

async fn events(
    (): (),
    caller: Caller,
    Since(since): Since,
    last: Option<String>,
    context: Arc<RequestContext>,
    realtime: Arc<Realtime>,
) -> Result<Response> {
    if context.is_head {
        return Ok(streamed(Response::default()));
    }
    let (pass, addr) = (AuthenticatedSession::from(&caller), caller.client.addr);
    let opened = stream::open(realtime, pass, addr, last.or(since).as_deref()).await;
    let mut bytes = opened.map_err(|close| match close {
        Close::TooMany => Error::limited("rate_limited", TOO_MANY_WAIT),
        Close::Leaving
        | Close::Protocol
        | Close::NotText
        | Close::TooBig
        | Close::Malformed
        | Close::Unauthenticated
        | Close::NoToken
        | Close::TooSlow => Error::unavailable(),
    })?;
    let bytes = poll_fn(move |context| bytes.poll_recv(context)).map(Ok::<_, Infallible>);
    Ok(streamed(warp::reply::stream(shared(bytes)).into_response()))
}

fn streamed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // A proxy that gathers what it passes on would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl From<&Caller> for AuthenticatedSession {
    fn from(caller: &Caller) -> Self {
        let Caller { user, session, expires_at, .. } = *caller;
        Self { user, session, expires_at }
    }
}
