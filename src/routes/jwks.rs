//! GET /.well-known/jwks.json: the public keys of access tokens (RFC 7517 §5).

use std::sync::Arc;

use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::Reply;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::openapi::Docs;
use super::reply::OkJson;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::with;
use crate::services::access::{Access, Jwk};

const JWKS: Endpoint = Endpoint::get("/.well-known/jwks.json", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[JWKS];

#[derive(Serialize, ToSchema)]
struct Jwks {
    /// All that tokens may be signed with.
    keys: Vec<Jwk>,
}

pub(super) fn routes(guards: &Guards, access: &Arc<Access>) -> BoxedFilter<(Response,)> {
    let jwks = guards.public::<()>(&JWKS).and(with(access));
    jwks.map(|(), _, access: Arc<Access>| {
        let mut response = OkJson(Jwks { keys: access.jwks() }).into_response();
        let cache = HeaderValue::from_static("public, max-age=300");
        response.headers_mut().insert(header::CACHE_CONTROL, cache);
        response
    })
    .boxed()
}

pub(super) fn describe(docs: &mut Docs) {
    docs.route(&JWKS, "jwks", "The public keys of access tokens")
        .says("RFC 7517. `Cache-Control` lets it be kept for five minutes.")
        .gives::<Jwks>(200, "The keys.");
}
