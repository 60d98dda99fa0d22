//! What stands in front of a handler, as warp filters: who asks, how often, and with what.
//!
//! The order of a route is path, method, caller and rate limit, then query and body: so the first
//! of 404, 405, 401, 429, 415, 413, 400, 422 that applies is the answer.

pub mod body;
pub mod client;
pub mod context;
pub mod endpoint;
pub mod forwarded;
pub mod frame_limit;
pub mod front;
pub mod guards;
pub mod handshake;
pub mod input;
pub mod json;
pub mod json_or_multipart;
pub mod multipart;
pub mod path;
pub mod problem;
pub mod query;
pub mod rate_limit;

mod parameters;

use std::convert::Infallible;

use warp::Filter;

/// Hands a clone of `value` to the handler.
pub fn with<T: Clone + Send + Sync>(
    value: &T,
) -> impl Filter<Extract = (T,), Error = Infallible> + Clone + use<T> {
    let value = value.clone();
    warp::any().map(move || value.clone())
}
