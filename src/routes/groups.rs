//! Groups: POST and GET /groups, GET, PUT and DELETE /groups/{id},
//! POST /groups/{id}/{add,remove,leave}, PUT `/groups/{id}/members/{user_id}`.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Created, NoContent, OkJson, Removed};
use crate::domain::conversations::Role;
use crate::domain::groups::GroupWish;
use crate::domain::ids::{AttachmentId, GroupId, UserId};
use crate::domain::page::Page;
use crate::domain::text::GroupName;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::query::{PageQuery, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::groups::{GroupMember, GroupOverview, Groups, WholeGroup};

const CREATE: Endpoint = Endpoint::post("/groups", Class::Write).json();
const LIST: Endpoint = Endpoint::get("/groups", Class::Read);
const GET: Endpoint = Endpoint::get("/groups/{group_id}", Class::Read);
const UPDATE: Endpoint = Endpoint::put("/groups/{group_id}", Class::Write).json();
const ADD: Endpoint = Endpoint::post("/groups/{group_id}/add", Class::Write).json();
const REMOVE: Endpoint = Endpoint::post("/groups/{group_id}/remove", Class::Write).json();
const LEAVE: Endpoint = Endpoint::post("/groups/{group_id}/leave", Class::Write);
const GIVE_ROLE: Endpoint =
    Endpoint::put("/groups/{group_id}/members/{user_id}", Class::Write).json();
const DELETE: Endpoint = Endpoint::delete("/groups/{group_id}", Class::Write);

pub(super) const ENDPOINTS: &[Endpoint] =
    &[CREATE, LIST, GET, UPDATE, ADD, REMOVE, LEAVE, GIVE_ROLE, DELETE];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let groups = with(&services.groups);
    let create = guards.caller::<()>(&CREATE).and(json(&CREATE)).and(groups.clone());
    let create = create.then(self::create).map(respond).boxed();
    let list = guards.caller::<()>(&LIST).and(query()).and(groups.clone());
    let list = list.then(self::list).map(respond).boxed();
    let get = guards.caller::<(GroupId,)>(&GET).and(groups.clone());
    let get = get.then(self::get).map(respond).boxed();
    let update = guards.caller::<(GroupId,)>(&UPDATE).and(json(&UPDATE)).and(groups.clone());
    let update = update.then(self::update).map(respond).boxed();
    let add = guards.caller::<(GroupId,)>(&ADD).and(json(&ADD)).and(groups.clone());
    let add = add.then(self::add).map(respond).boxed();
    let remove = guards.caller::<(GroupId,)>(&REMOVE).and(json(&REMOVE)).and(groups.clone());
    let remove = remove.then(self::remove).map(respond).boxed();
    let leave = guards.caller::<(GroupId,)>(&LEAVE).and(groups.clone());
    let leave = leave.then(self::leave).map(respond).boxed();
    let give_role = guards.caller::<(GroupId, UserId)>(&GIVE_ROLE).and(json(&GIVE_ROLE));
    let give_role = give_role.and(groups.clone()).then(self::give_role).map(respond).boxed();
    let delete = guards.caller::<(GroupId,)>(&DELETE).and(groups);
    let delete = delete.then(self::delete).map(respond).boxed();
    any_of([create, list, get, update, add, remove, leave, give_role, delete])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Groups", "Their conversation has the same id.");
    docs.route(&CREATE, "createGroup", "Make a group")
        .says("All or nothing. The caller is its owner; who is named twice is in it once.")
        .takes::<CreateGroup>()
        .gives::<WholeGroup>(201, "The group.")
        .fails(&["recipient_unavailable", "group_full"]);
    docs.route(&LIST, "listGroups", "Groups that one is in")
        .gives_page::<GroupOverview>("A page, without members, the last joined first.");
    docs.route(&GET, "getGroup", "A group with its members").gives::<WholeGroup>(200, "The group.");
    docs.route(&UPDATE, "updateGroup", "Change name or picture")
        .says("Owner and admins.")
        .takes::<UpdateGroup>()
        .gives::<WholeGroup>(200, "The group as it now is.")
        .fails(&["forbidden"]);
    describe_members(docs);
}

fn describe_members(docs: &mut Docs) {
    docs.route(&ADD, "addMember", "Add someone")
        .says("Owner and admins.")
        .takes::<Someone>()
        .gives::<GroupMember>(201, "The new member.")
        .fails(&["forbidden", "recipient_unavailable", "already_member", "group_full"]);
    docs.route(&REMOVE, "removeMember", "Remove someone")
        .says("The owner anyone, admins plain members.")
        .takes::<Someone>()
        .gives::<Removed>(200, "They are out.")
        .fails(&["forbidden"]);
    docs.route(&LEAVE, "leaveGroup", "Leave")
        .says("An owner hands over to the admin, else the member, who joined first.")
        .gives::<Removed>(200, "The caller is out.");
    docs.route(&GIVE_ROLE, "giveRole", "Give a member another role")
        .says("The owner. `owner` hands the group over; who had it becomes an admin.")
        .takes::<GiveRole>()
        .gives::<GroupMember>(200, "The member as they now are.")
        .fails(&["forbidden"]);
    docs.route(&DELETE, "deleteGroup", "End a group")
        .says("The owner.")
        .gives_nothing(204, "The group is gone, and its conversation with it.")
        .fails(&["forbidden"]);
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct CreateGroup {
    /// What it is called; not blank.
    #[validate(required, custom(function = "input::group_name"))]
    #[schema(value_type = GroupName)]
    group_name: Option<String>,
    /// Everyone but the caller; may be empty.
    #[validate(required)]
    #[schema(value_type = Vec<UserId>)]
    members: Option<Vec<UserId>>,
}

async fn create(
    (): (),
    caller: Caller,
    input: CreateGroup,
    groups: Arc<Groups>,
) -> Result<Created<WholeGroup>> {
    let name = input::given("group_name", input.group_name.as_deref(), GroupName::parse)?;
    let members = input::required("members", input.members)?;
    groups.create(caller.user, name, members).await.map(Created)
}

async fn list(
    (): (),
    caller: Caller,
    which: PageQuery,
    groups: Arc<Groups>,
) -> Result<OkJson<Page<GroupOverview>>> {
    groups.list(caller.user, which.limit, which.cursor.as_deref()).await.map(OkJson)
}

async fn get(
    (group,): (GroupId,),
    caller: Caller,
    groups: Arc<Groups>,
) -> Result<OkJson<WholeGroup>> {
    groups.get(caller.user, group).await.map(OkJson)
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct UpdateGroup {
    /// The new name.
    #[serde(default, deserialize_with = "input::not_null")]
    #[validate(custom(function = "input::group_name"))]
    #[schema(value_type = GroupName, required = false)]
    group_name: Option<String>,
    /// An image of one's own; null takes it away.
    #[serde(default, deserialize_with = "input::nullable")]
    #[expect(clippy::option_option, reason = "absent and null differ")]
    #[schema(value_type = Option<AttachmentId>)]
    group_picture: Option<Option<AttachmentId>>,
}

async fn update(
    (group,): (GroupId,),
    caller: Caller,
    input: UpdateGroup,
    groups: Arc<Groups>,
) -> Result<OkJson<WholeGroup>> {
    let name = input::maybe("group_name", input.group_name.as_deref(), GroupName::parse)?;
    let wish = GroupWish { name, picture: input.group_picture };
    groups.update(caller.user, group, wish).await.map(OkJson)
}

/// The body of what is done to someone.
#[derive(Debug, Deserialize, Validate, ToSchema)]
struct Someone {
    /// Whom.
    #[validate(required)]
    #[schema(value_type = UserId)]
    user_id: Option<UserId>,
}

async fn add(
    (group,): (GroupId,),
    caller: Caller,
    input: Someone,
    groups: Arc<Groups>,
) -> Result<Created<GroupMember>> {
    let user = input::required("user_id", input.user_id)?;
    groups.add(caller.user, group, user).await.map(Created)
}

async fn remove(
    (group,): (GroupId,),
    caller: Caller,
    input: Someone,
    groups: Arc<Groups>,
) -> Result<OkJson<Removed>> {
    let user = input::required("user_id", input.user_id)?;
    groups.remove(caller.user, group, user).await?;
    Ok(OkJson(Removed::of(user)))
}

async fn leave(
    (group,): (GroupId,),
    caller: Caller,
    groups: Arc<Groups>,
) -> Result<OkJson<Removed>> {
    groups.leave(caller.user, group).await?;
    Ok(OkJson(Removed::of(caller.user)))
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct GiveRole {
    /// The role to be.
    #[serde(default, deserialize_with = "input::word")]
    #[validate(required)]
    #[schema(value_type = Role)]
    role: Option<Role>,
}

async fn give_role(
    (group, user): (GroupId, UserId),
    caller: Caller,
    input: GiveRole,
    groups: Arc<Groups>,
) -> Result<OkJson<GroupMember>> {
    let role = input::required("role", input.role)?;
    groups.give_role(caller.user, group, user, role).await.map(OkJson)
}

async fn delete((group,): (GroupId,), caller: Caller, groups: Arc<Groups>) -> Result<NoContent> {
    groups.delete(caller.user, group).await.map(|()| NoContent)
}
