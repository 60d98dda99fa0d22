//! The `AsyncAPI` document (3.0): what goes over sockets and streams of events, made from the table
//! of frames and the types that they carry. GET /asyncapi.json.

mod document;
mod frames;

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::openapi::Docs;
use super::reply::json_text;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;

const DOCUMENT: Endpoint = Endpoint::get("/asyncapi.json", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[DOCUMENT];

/// The document.
///
/// # Panics
/// When two types that differ have one name; any test of it shows that.
#[must_use]
pub fn document() -> Value {
    document::of(&frames::server(), frames::CLIENT)
}

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

pub(super) fn routes(guards: &Guards) -> BoxedFilter<(Response,)> {
    guards.public::<()>(&DOCUMENT).map(|(), _| json_text(&TEXT)).boxed()
}

pub(super) fn describe(docs: &mut Docs) {
    docs.route(&DOCUMENT, "asyncapi", "What goes over sockets, for programs").gives_media(
        200,
        "AsyncAPI 3.0.",
        "application/json",
        json!({"type": "object", "required": ["asyncapi", "info", "channels", "operations"]}),
        json!({
            "asyncapi": "3.0.0",
            "info": {"title": "natter", "version": "0"},
            "channels": {},
            "operations": {},
        }),
    );
}
