//! Friends: POST /friends/{add,accept,decline,remove} and GET /friends.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Created, OkJson, Removed};
use crate::domain::ids::UserId;
use crate::domain::page::{Limit, Page};
use crate::domain::relations::Standing;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::friends::{Friend, Friends, Friendship};

const ADD: Endpoint = Endpoint::post("/friends/add", Class::Write).json();
const ACCEPT: Endpoint = Endpoint::post("/friends/accept", Class::Write).json();
const DECLINE: Endpoint = Endpoint::post("/friends/decline", Class::Write).json();
const REMOVE: Endpoint = Endpoint::post("/friends/remove", Class::Write).json();
const LIST: Endpoint = Endpoint::get("/friends", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] = &[ADD, ACCEPT, DECLINE, REMOVE, LIST];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let on_someone = |endpoint: &Endpoint| {
        guards
            .caller::<()>(endpoint)
            .and(json::<Someone>(endpoint))
            .and(with(&services.friends))
            .boxed()
    };
    let add = on_someone(&ADD).then(add).map(respond).boxed();
    let accept = on_someone(&ACCEPT).then(accept).map(respond).boxed();
    let decline = on_someone(&DECLINE).then(decline).map(respond).boxed();
    let remove = on_someone(&REMOVE).then(remove).map(respond).boxed();
    let list = guards.caller::<()>(&LIST).and(query::<Which>()).and(with(&services.friends));
    let list = list.then(list_friends).map(respond).boxed();
    any_of([add, accept, decline, remove, list])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Friends", "One relation per pair of users, seen from either side.");
    docs.route(&ADD, "addFriend", "Ask someone to be friends")
        .says("Where their request waits, this accepts it.")
        .takes::<Someone>()
        .gives::<Friendship>(201, "How the two now stand.")
        .fails(&["not_found", "recipient_unavailable", "cannot_friend_self"])
        .fails(&["already_friends", "request_already_sent", "limit_reached"]);
    docs.route(&ACCEPT, "acceptFriend", "Accept a request")
        .takes::<Someone>()
        .gives::<Friendship>(200, "How the two now stand.")
        .fails(&["not_found", "recipient_unavailable"])
        .fails(&["cannot_friend_self", "already_friends"]);
    docs.route(&DECLINE, "declineFriend", "Decline a request")
        .takes::<Someone>()
        .gives::<Removed>(200, "The request is gone.")
        .fails(&["not_found", "cannot_friend_self", "already_friends"]);
    docs.route(&REMOVE, "removeFriend", "End a friendship, or take back a request")
        .takes::<Someone>()
        .gives::<Removed>(200, "They are no friends, and no request waits.")
        .fails(&["not_found", "cannot_friend_self"]);
    let standing = json!({"type": "string", "enum": ["accepted", "incoming", "outgoing"]});
    docs.route(&LIST, "listFriends", "Friends, or requests")
        .query("status", "Which list; `accepted` by default.", standing)
        .gives_page::<Friend>("A page, the newest first.");
}

/// The body of every change: who it is about.
#[derive(Debug, Deserialize, Validate, ToSchema)]
struct Someone {
    /// The other one.
    #[validate(required)]
    #[schema(value_type = UserId)]
    friend_user_id: Option<UserId>,
}

impl Someone {
    fn id(&self) -> Result<UserId> {
        input::required("friend_user_id", self.friend_user_id)
    }
}

async fn add(
    (): (),
    caller: Caller,
    input: Someone,
    friends: Arc<Friends>,
) -> Result<Created<Friendship>> {
    Ok(Created(friends.add(caller.user, input.id()?).await?))
}

async fn accept(
    (): (),
    caller: Caller,
    input: Someone,
    friends: Arc<Friends>,
) -> Result<OkJson<Friendship>> {
    Ok(OkJson(friends.accept(caller.user, input.id()?).await?))
}

async fn decline(
    (): (),
    caller: Caller,
    input: Someone,
    friends: Arc<Friends>,
) -> Result<OkJson<Removed>> {
    let other = input.id()?;
    friends.decline(caller.user, other).await?;
    Ok(OkJson(Removed::of(other)))
}

async fn remove(
    (): (),
    caller: Caller,
    input: Someone,
    friends: Arc<Friends>,
) -> Result<OkJson<Removed>> {
    let other = input.id()?;
    friends.remove(caller.user, other).await?;
    Ok(OkJson(Removed::of(other)))
}

/// Which of the lists, and which page of it.
#[derive(Debug)]
struct Which {
    standing: Standing,
    limit: Limit,
    cursor: Option<String>,
}

impl QueryInput for Which {
    fn read(query: &mut Query) -> Self {
        let words = [
            ("accepted", Standing::Accepted),
            ("incoming", Standing::Incoming),
            ("outgoing", Standing::Outgoing),
        ];
        Self {
            standing: query.one_of("status", &words).unwrap_or(Standing::Accepted),
            limit: query.limit(),
            cursor: query.cursor(),
        }
    }
}

async fn list_friends(
    (): (),
    caller: Caller,
    which: Which,
    friends: Arc<Friends>,
) -> Result<OkJson<Page<Friend>>> {
    let cursor = which.cursor.as_deref();
    Ok(OkJson(friends.list(caller.user, which.standing, which.limit, cursor).await?))
}
