//! What one request carries from the socket to its answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use uuid::Uuid;
use warp::Filter;

use super::rate_limit::Charge;
use crate::domain::clock::random_bytes;
use crate::domain::ids::UserId;

/// One request's identity, and what its guards found out for the answer's headers and the log.
#[derive(Debug)]
pub struct RequestContext {
    /// `X-Request-Id`: the caller's own if it is well formed, otherwise a new UUID.
    pub id: String,
    /// The other end of the connection; `None` only where a filter is tested alone.
    pub peer: Option<IpAddr>,
    /// Whether the answer's head is all that is wanted: HEAD, which the routes see as GET.
    pub is_head: bool,
    /// The path of the route table's row that the request's path is of, once found.
    pub route: OnceLock<&'static str>,
    /// What the rate limit charged; set once, by the guard of the route that matched.
    pub charge: OnceLock<Charge>,
    /// Who asked, once known; for the log.
    pub user: OnceLock<UserId>,
}

impl RequestContext {
    /// A context for a request from `peer` that may bring its own id.
    #[must_use]
    pub fn new(peer: Option<IpAddr>, given_id: Option<&str>) -> Self {
        let id = given_id.filter(|id| is_request_id(id)).map_or_else(new_id, str::to_owned);
        let (route, charge, user) = Default::default();
        Self { id, peer, is_head: false, route, charge, user }
    }
}

fn new_id() -> String {
    Uuid::from_bytes(random_bytes()).simple().to_string()
}

/// 1 to 64 of `[A-Za-z0-9._-]`: fit for headers and logs as it stands.
fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The context that the outermost layer put into the request.
pub fn context()
-> impl Filter<Extract = (Arc<RequestContext>,), Error = Infallible> + Copy + Send + Sync + 'static
{
    warp::ext::optional::<Arc<RequestContext>>().map(|context: Option<_>| {
        context.unwrap_or_else(|| Arc::new(RequestContext::new(None, None)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_own_id_is_kept_only_if_it_is_harmless() {
        for good in ["a", "trace-1.b_C", &"x".repeat(64)] {
            assert_eq!(RequestContext::new(None, Some(good)).id, good);
        }
        for bad in ["", "a b", "a\nb", "\"", "é", &"x".repeat(65)] {
            assert_ne!(RequestContext::new(None, Some(bad)).id, bad);
        }
    }
}
