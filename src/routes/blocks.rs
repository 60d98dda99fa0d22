//! Blocks: GET and POST `/blocks`, DELETE `/blocks/{user_id}`.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Created, NoContent, OkJson};
use crate::domain::ids::UserId;
use crate::domain::page::Page;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::query::{PageQuery, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::blocks::{BlockedUser, Blocks};

const LIST: Endpoint = Endpoint::get("/blocks", Class::Read);
const BLOCK: Endpoint = Endpoint::post("/blocks", Class::Write).json();
const UNBLOCK: Endpoint = Endpoint::delete("/blocks/{user_id}", Class::Write);

pub(super) const ENDPOINTS: &[Endpoint] = &[LIST, BLOCK, UNBLOCK];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let blocks = with(&services.blocks);
    let list = guards.caller::<()>(&LIST).and(query()).and(blocks.clone());
    let list = list.then(self::list).map(respond).boxed();
    let block = guards.caller::<()>(&BLOCK).and(json(&BLOCK)).and(blocks.clone());
    let block = block.then(self::block).map(respond).boxed();
    let unblock = guards.caller::<(UserId,)>(&UNBLOCK).and(blocks);
    let unblock = unblock.then(self::unblock).map(respond).boxed();
    any_of([list, block, unblock])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Blocks", "People one wants nothing from.");
    docs.route(&LIST, "listBlocks", "Those whom one has blocked")
        .gives_page::<BlockedUser>("A page, the last blocked first.");
    docs.route(&BLOCK, "block", "Block someone")
        .says("Ends friendship and requests. Again changes nothing.")
        .takes::<Someone>()
        .gives::<BlockedUser>(201, "The block.")
        .fails(&["cannot_friend_self", "not_found"]);
    docs.route(&UNBLOCK, "unblock", "Take a block back")
        .gives_nothing(204, "There is no block (any more).")
        .fails(&["cannot_friend_self"]);
}

async fn list(
    (): (),
    caller: Caller,
    which: PageQuery,
    blocks: Arc<Blocks>,
) -> Result<OkJson<Page<BlockedUser>>> {
    blocks.list(caller.user, which.limit, which.cursor.as_deref()).await.map(OkJson)
}

/// The body of a block: whom.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = BlockSomeone)]
struct Someone {
    /// Whom.
    #[validate(required)]
    #[schema(value_type = UserId)]
    user_id: Option<UserId>,
}

async fn block(
    (): (),
    caller: Caller,
    input: Someone,
    blocks: Arc<Blocks>,
) -> Result<Created<BlockedUser>> {
    let other = input::required("user_id", input.user_id)?;
    blocks.block(caller.user, other).await.map(Created)
}

async fn unblock((other,): (UserId,), caller: Caller, blocks: Arc<Blocks>) -> Result<NoContent> {
    blocks.unblock(caller.user, other).await.map(|()| NoContent)
}
