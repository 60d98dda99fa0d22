//! Sockets: `GET /ws`.

use std::sync::Arc;

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::openapi::Docs;
use crate::error::{Error, Result};
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::realtime::Realtime;
use crate::realtime::connection::{Entrance, serve};
use crate::services::access::Pass;

const WS: Endpoint = Endpoint::get("/ws", Class::Socket).later();

pub(super) const ENDPOINTS: &[Endpoint] = &[WS];

pub(super) fn routes(guards: &Guards, realtime: &Arc<Realtime>) -> BoxedFilter<(Response,)> {
    let ws = guards.visitor::<()>(&WS).and(query::<Since>()).and(opening()).and(with(realtime));
    ws.then(socket).map(respond).boxed()
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
}

fn event_id() -> serde_json::Value {
    json!({"type": "string", "maxLength": 128, "examples": ["6922a1f00000000100000001"]})
}

/// Where to go on.
struct Since(Option<String>);

impl QueryInput for Since {
    fn read(query: &mut Query) -> Self {
        Self(query.text("since"))
    }
}

/// The opening handshake (RFC 6455 §4.2).
#[derive(Clone)]
struct Opening {
    upgrade: OnUpgrade,
    key: String,
}

/// The handshake, if it is one. Extensions and subprotocols that it offers are not taken up.
fn opening() -> BoxedFilter<(Option<Opening>,)> {
    let key = warp::header::<String>("sec-websocket-key");
    // The upgrade before the filter that checks the rest, which takes it away.
    let checked = warp::ext::get::<OnUpgrade>().and(key).and(warp::ws());
    let opening = checked.map(|upgrade, key, _| Some(Opening { upgrade, key }));
    opening.or(warp::any().map(|| None)).unify().boxed()
}

async fn socket(
    (): (),
    caller: Option<Caller>,
    client: Client,
    Since(since): Since,
    opening: Option<Opening>,
    realtime: Arc<Realtime>,
) -> Result<impl Reply> {
    let Opening { upgrade, key } = opening.ok_or_else(Error::upgrade_required)?;
    let accept = derive_accept_key(key.as_bytes());
    let accept = HeaderValue::try_from(accept).map_err(Error::internal)?;
    let pass =
        caller.map(|Caller { user, session, expires_at, .. }| Pass { user, session, expires_at });
    let entrance = Entrance { pass, since, addr: client.addr };
    tokio::spawn(serve(realtime, upgrade, entrance));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}
