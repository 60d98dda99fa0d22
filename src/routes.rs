//! The routes: a file per resource, each its rows of the table and what answers them.

mod accounts;
pub mod asyncapi;
mod attachments;
mod blocks;
mod bytes;
mod conversations;
mod email_undo;
mod friends;
mod groups;
mod health;
mod jwks;
mod messages;
mod metrics;
mod notifications;
pub mod openapi;
mod password;
mod profile;
mod realtime;
mod reply;
mod revisions;
mod search;
mod sessions;
mod users;

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::filters::endpoint::Endpoint;
use crate::filters::front::front;
use crate::filters::guards::Guards;
use crate::filters::problem;
use crate::metrics::Metrics;
use crate::realtime::Realtime;
use crate::services::Services;

pub use health::Health;

/// Every route there is; `Allow`, OPTIONS, limits and the table test derive from it.
#[must_use]
pub fn table() -> Vec<Endpoint> {
    [
        accounts::ENDPOINTS,
        asyncapi::ENDPOINTS,
        attachments::ENDPOINTS,
        blocks::ENDPOINTS,
        conversations::ENDPOINTS,
        email_undo::ENDPOINTS,
        friends::ENDPOINTS,
        groups::ENDPOINTS,
        health::ENDPOINTS,
        jwks::ENDPOINTS,
        messages::ENDPOINTS,
        notifications::ENDPOINTS,
        openapi::ENDPOINTS,
        password::ENDPOINTS,
        profile::ENDPOINTS,
        realtime::ENDPOINTS,
        revisions::ENDPOINTS,
        search::ENDPOINTS,
        sessions::ENDPOINTS,
        users::ENDPOINTS,
    ]
    .concat()
}

/// What each route says about itself, in the order of the document's chapters.
fn describe(docs: &mut openapi::Docs) {
    accounts::describe(docs);
    sessions::describe(docs);
    profile::describe(docs);
    password::describe(docs);
    email_undo::describe(docs);
    users::describe(docs);
    friends::describe(docs);
    blocks::describe(docs);
    conversations::describe(docs);
    messages::describe(docs);
    revisions::describe(docs);
    search::describe(docs);
    attachments::describe(docs);
    groups::describe(docs);
    notifications::describe(docs);
    realtime::describe(docs);
    health::describe(docs);
    jwks::describe(docs);
    openapi::describe(docs);
    asyncapi::describe(docs);
}

/// All routes behind the front that answers for the table; every rejection answered.
#[must_use]
pub fn all(
    guards: &Guards,
    services: &Services,
    realtime: &Arc<Realtime>,
    health: &Health,
) -> BoxedFilter<(Response,)> {
    let routes = any_of([
        accounts::routes(guards, services),
        asyncapi::routes(guards),
        attachments::routes(guards, &services.attachments),
        blocks::routes(guards, services),
        conversations::routes(guards, services),
        email_undo::routes(guards, &services.email_undo),
        friends::routes(guards, services),
        groups::routes(guards, services),
        health::routes(guards, health),
        jwks::routes(guards, &services.access),
        messages::routes(guards, services),
        notifications::routes(guards, services),
        openapi::routes(guards),
        password::routes(guards, services),
        profile::routes(guards, services),
        realtime::routes(guards, services, realtime),
        revisions::routes(guards, services),
        search::routes(guards, &services.search),
        sessions::routes(guards, &services.sessions),
        users::routes(guards, &services.profiles),
    ]);
    any_of([front(table()), routes]).recover(problem::recover).unify().boxed()
}

/// The operators' routes, on their own listener.
#[must_use]
pub fn admin(metrics: &Metrics) -> BoxedFilter<(Response,)> {
    let front = front(metrics::ENDPOINTS.to_vec());
    any_of([front, metrics::routes(metrics)]).recover(problem::recover).unify().boxed()
}

/// The first of some routes that takes the request.
fn any_of<const N: usize>(routes: [BoxedFilter<(Response,)>; N]) -> BoxedFilter<(Response,)> {
    let none = warp::any().and_then(|| async { Err(warp::reject::not_found()) }).boxed();
    routes.into_iter().rev().fold(none, |rest, route| route.or(rest).unify().boxed())
}
