//! One's own profile: GET and PUT /profile.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::Found;
use crate::domain::ids::AttachmentId;
use crate::domain::text::{Email, Username};
use crate::domain::users::User;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::profile::{Profile, ProfileChange};

const GET: Endpoint = Endpoint::get("/profile", Class::Read);
const CHANGE: Endpoint = Endpoint::put("/profile", Class::Write).json();

pub(super) const ENDPOINTS: &[Endpoint] = &[GET, CHANGE];

pub(super) fn routes(guards: &Guards, profile: &Arc<Profile>) -> BoxedFilter<(Response,)> {
    let get = guards.caller::<()>(&GET).and(with(profile));
    let get = get.then(self::get).map(respond).boxed();
    let change = guards.caller::<()>(&CHANGE).and(json(&CHANGE)).and(with(profile));
    let change = change.then(self::change).map(respond).boxed();
    any_of([get, change])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Profile", "One's own account.");
    docs.route(&GET, "getProfile", "One's own account").gives::<User>(200, "The account.");
    docs.route(&CHANGE, "updateProfile", "Change one's own account")
        .says("A new e-mail is `pending_email` until the link mailed there is used.")
        .takes::<Change>()
        .gives::<User>(200, "The account as it now is.")
        .fails(&["email_taken", "username_taken"]);
}

async fn get((): (), caller: Caller, profile: Arc<Profile>) -> Result<Found<User>> {
    Ok(Found(profile.get(caller.user).await?))
}

#[derive(Deserialize, Validate, ToSchema)]
struct Change {
    /// The new name.
    #[serde(default, deserialize_with = "input::not_null")]
    #[validate(custom(function = "input::username"))]
    #[schema(value_type = Username, required = false)]
    username: Option<String>,
    /// The new address; a link is mailed there.
    #[serde(default, deserialize_with = "input::not_null")]
    #[validate(custom(function = "input::email"))]
    #[schema(value_type = Email, required = false)]
    email: Option<String>,
    /// An image of one's own; null takes it away.
    #[serde(default, deserialize_with = "input::nullable")]
    #[expect(clippy::option_option, reason = "absent and null differ")]
    #[schema(value_type = Option<AttachmentId>)]
    profile_picture: Option<Option<AttachmentId>>,
}

async fn change(
    (): (),
    caller: Caller,
    input: Change,
    profile: Arc<Profile>,
) -> Result<Found<User>> {
    let change = ProfileChange {
        username: input::maybe("username", input.username.as_deref(), Username::parse)?,
        email: input::maybe("email", input.email.as_deref(), Email::parse)?,
        picture: input.profile_picture,
    };
    Ok(Found(profile.change(caller.user, change).await?))
}
