//! Other people: `GET /users/{user_id}` and `GET /users?q=`.

use std::sync::Arc;

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::OkJson;
use crate::domain::ids::UserId;
use crate::domain::page::{Limit, Page};
use crate::domain::users::PublicUser;
use crate::error::Result;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::user_directory::{SHORTEST_PREFIX, UserDirectory};

const GET: Endpoint = Endpoint::get("/users/{user_id}", Class::Read);
const SEARCH: Endpoint = Endpoint::get("/users", Class::Search);

pub(super) const ENDPOINTS: &[Endpoint] = &[GET, SEARCH];

pub(super) fn routes(guards: &Guards, profiles: &Arc<UserDirectory>) -> BoxedFilter<(Response,)> {
    let get = guards.caller::<(UserId,)>(&GET).and(with(profiles));
    let get = get.then(self::get).map(respond).boxed();
    let search = guards.caller::<()>(&SEARCH).and(query::<Search>()).and(with(profiles));
    let search = search.then(self::search).map(respond).boxed();
    any_of([get, search])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Users", "Other people.");
    docs.route(&GET, "getUser", "Someone's public profile").gives::<PublicUser>(200, "They.");
    let prefix = json!({"type": "string", "minLength": 2, "examples": ["gra"]});
    docs.route(&SEARCH, "searchUsers", "Find people by name")
        .needs_query("q", "How the name begins, ignoring case.", prefix)
        .gives_page::<PublicUser>("A page, by name.");
}

async fn get(
    (user,): (UserId,),
    _caller: Caller,
    profiles: Arc<UserDirectory>,
) -> Result<OkJson<PublicUser>> {
    Ok(OkJson(profiles.one(user).await?))
}

/// Who is looked for, and which page of them.
struct Search {
    prefix: String,
    limit: Limit,
    cursor: Option<String>,
}

impl QueryInput for Search {
    fn read(query: &mut Query) -> Self {
        let prefix = query.text("q");
        match &prefix {
            None => query.refuse("q", "required", "parameter is required"),
            Some(prefix) if prefix.chars().count() < SHORTEST_PREFIX => {
                query.refuse("q", "too_short", "must have at least 2 characters");
            }
            Some(_) => {}
        }
        Self { prefix: prefix.unwrap_or_default(), limit: query.limit(), cursor: query.cursor() }
    }
}

async fn search(
    (): (),
    caller: Caller,
    search: Search,
    profiles: Arc<UserDirectory>,
) -> Result<OkJson<Page<PublicUser>>> {
    let cursor = search.cursor.as_deref();
    Ok(OkJson(profiles.search(caller.user, &search.prefix, search.limit, cursor).await?))
}
