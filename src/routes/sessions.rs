//! Signed-in devices: POST /token/refresh and /logout, GET and DELETE /sessions.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{NoContent, OkJson};
use crate::domain::ids::SessionId;
use crate::domain::page::Page;
use crate::domain::sessions::{Device, SignedIn, SignedInDevice};
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{PageQuery, query};
use crate::filters::with;
use crate::services::sessions::Sessions;

const REFRESH: Endpoint = Endpoint::post("/token/refresh", Class::Auth).public().json();
const LOGOUT: Endpoint = Endpoint::post("/logout", Class::Write);
const LIST: Endpoint = Endpoint::get("/sessions", Class::Read);
const END_OTHERS: Endpoint = Endpoint::delete("/sessions", Class::Write);
const END: Endpoint = Endpoint::delete("/sessions/{session_id}", Class::Write);

pub(super) const ENDPOINTS: &[Endpoint] = &[REFRESH, LOGOUT, LIST, END_OTHERS, END];

pub(super) fn routes(guards: &Guards, sessions: &Arc<Sessions>) -> BoxedFilter<(Response,)> {
    let sessions = with(sessions);
    let refresh = guards.public::<()>(&REFRESH).and(json(&REFRESH)).and(sessions.clone());
    let refresh = refresh.then(self::refresh).map(respond).boxed();
    let logout = guards.caller::<()>(&LOGOUT).and(sessions.clone());
    let logout = logout.then(self::logout).map(respond).boxed();
    let list = guards.caller::<()>(&LIST).and(query::<PageQuery>()).and(sessions.clone());
    let list = list.then(self::list).map(respond).boxed();
    let end_others = guards.caller::<()>(&END_OTHERS).and(sessions.clone());
    let end_others = end_others.then(self::end_others).map(respond).boxed();
    let end = guards.caller::<(SessionId,)>(&END).and(sessions);
    let end = end.then(self::end).map(respond).boxed();
    any_of([refresh, logout, list, end_others, end])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Sessions", "Signed-in devices.");
    docs.route(&REFRESH, "refresh", "New tokens for a refresh token")
        .says("Single use; within ten seconds a repeat gives the newest pair again.")
        .takes::<Refresh>()
        .gives::<SignedIn>(200, "Tokens, and who is signed in.")
        .fails(&["invalid_refresh_token", "refresh_token_reused"]);
    docs.route(&LOGOUT, "logOut", "End this session").gives_nothing(204, "It has ended.");
    docs.route(&LIST, "listSessions", "Signed-in devices").gives_page::<SignedInDevice>("A page.");
    docs.route(&END_OTHERS, "endOtherSessions", "End all sessions but this one")
        .says("A change of the e-mail address that waits for its link is withdrawn.")
        .gives_nothing(204, "They have ended.");
    docs.route(&END, "endSession", "End a session").gives_nothing(204, "It has ended.");
}

/// The device that a request comes from.
pub(super) fn device(client: Client) -> Device {
    Device { ip: client.addr, user_agent: client.user_agent }
}

#[derive(Deserialize, Validate, ToSchema)]
struct Refresh {
    /// The newest one.
    #[validate(required)]
    #[schema(value_type = String, example = "q1Zb0l2mT8fJxwY5sHk3Rg")]
    refresh_token: Option<String>,
}

async fn refresh(
    (): (),
    client: Client,
    input: Refresh,
    sessions: Arc<Sessions>,
) -> Result<OkJson<SignedIn>> {
    let token = input.refresh_token.unwrap_or_default();
    Ok(OkJson(sessions.refresh(&token, &device(client)).await?))
}

async fn logout((): (), caller: Caller, sessions: Arc<Sessions>) -> Result<NoContent> {
    sessions.log_out(caller.user, caller.session).await?;
    Ok(NoContent)
}

async fn list(
    (): (),
    caller: Caller,
    which: PageQuery,
    sessions: Arc<Sessions>,
) -> Result<OkJson<Page<SignedInDevice>>> {
    let cursor = which.cursor.as_deref();
    Ok(OkJson(sessions.list(caller.user, caller.session, which.limit, cursor).await?))
}

async fn end_others((): (), caller: Caller, sessions: Arc<Sessions>) -> Result<NoContent> {
    sessions.end_others(caller.user, caller.session).await?;
    Ok(NoContent)
}

async fn end(
    (session,): (SessionId,),
    caller: Caller,
    sessions: Arc<Sessions>,
) -> Result<NoContent> {
    sessions.end(caller.user, session).await?;
    Ok(NoContent)
}
