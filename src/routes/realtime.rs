//! Sockets: `GET /ws`.

use std::sync::Arc;

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::openapi::Docs;
use crate::error::{Error, Result};
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::handshake::{Handshake, handshake};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::realtime::Realtime;
use crate::realtime::connection::{Entrance, serve};
use crate::realtime::wire::config;
use crate::services::access::Pass;

const WS: Endpoint = Endpoint::get("/ws", Class::Socket).later();

pub(super) const ENDPOINTS: &[Endpoint] = &[WS];

pub(super) fn routes(guards: &Guards, realtime: &Arc<Realtime>) -> BoxedFilter<(Response,)> {
    let ws = guards.visitor::<()>(&WS).and(query::<Since>()).and(handshake()).and(with(realtime));
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

async fn socket(
    (): (),
    caller: Option<Caller>,
    client: Client,
    Since(since): Since,
    handshake: Option<Handshake>,
    realtime: Arc<Realtime>,
) -> Result<Response> {
    let handshake = handshake.ok_or_else(Error::upgrade_required)?;
    let pass =
        caller.map(|Caller { user, session, expires_at, .. }| Pass { user, session, expires_at });
    let entrance = Entrance { pass, since, addr: client.addr };
    Ok(handshake.accept(config(), move |ws| serve(realtime, ws, entrance)))
}
