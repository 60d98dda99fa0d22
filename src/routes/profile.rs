//! One's own account: GET, PUT and DELETE /profile, GET /profile/export.

use std::sync::Arc;

use futures_util::TryStreamExt;
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use validator::Validate;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::any_of;
use super::bytes::shared;
use super::openapi::Docs;
use super::reply::{NoContent, OkJson};
use crate::domain::ids::AttachmentId;
use crate::domain::text::{Email, Username};
use crate::domain::users::User;
use crate::error::Result;
use crate::filters::body;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::Services;
use crate::services::deletion::Deletion;
use crate::services::export::Exports;
use crate::services::profile::{AskedEmail, Profile, ProfileChange};

const GET: Endpoint = Endpoint::get("/profile", Class::Read);
const CHANGE: Endpoint = Endpoint::put("/profile", Class::Write).json();

const DELETE: Endpoint = Endpoint::delete("/profile", Class::Write).json();
const EXPORT: Endpoint = Endpoint::get("/profile/export", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] = &[GET, CHANGE, DELETE, EXPORT];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let profile = &services.profile;
    let get = guards.caller::<()>(&GET).and(with(profile));
    let get = get.then(self::get).map(respond).boxed();
    let change = guards.caller::<()>(&CHANGE).and(body::json(&CHANGE)).and(with(profile));
    let change = change.then(self::change).map(respond).boxed();
    let delete =
        guards.caller::<()>(&DELETE).and(body::json(&DELETE)).and(with(&services.deletion));
    let delete = delete.then(self::delete).map(respond).boxed();
    let export = guards.caller::<()>(&EXPORT).and(with(&services.exports));
    let export = export.then(self::export).map(respond).boxed();
    any_of([get, change, delete, export])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Profile", "One's own account.");
    docs.route(&GET, "getProfile", "One's own account").gives::<User>(200, "The account.");
    docs.route(&CHANGE, "updateProfile", "Change one's own account")
        .says(
            "A new e-mail is `pending_email` until the link mailed there is used; the present \
             address is mailed at once, with a link that undoes the change. At most 5 such \
             changes a day.",
        )
        .takes::<Change>()
        .gives::<User>(200, "The account as it now is.")
        .fails(&["email_taken", "username_taken", "forbidden", "account_locked"]);
    docs.route(&DELETE, "deleteProfile", "Delete one's own account")
        .says("Its messages stay; the e-mail is free at once, the name after 30 days.")
        .takes::<Delete>()
        .gives_nothing(204, "The account is gone.")
        .fails(&["forbidden", "account_locked"]);
    docs.route(&EXPORT, "exportProfile", "Download all that is one's own")
        .says("Profile, sessions, friends, blocks, groups, every message sent, attachments.")
        .gives_media(
            200,
            "A JSON document, to be saved.",
            "application/json",
            json!({"type": "object", "required": ["profile", "messages"]}),
            json!({"profile": {}, "messages": []}),
        )
        .header("Content-Disposition", "The name to save it under.");
}

async fn get((): (), caller: Caller, profile: Arc<Profile>) -> Result<OkJson<User>> {
    Ok(OkJson(profile.get(caller.user).await?))
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
    /// One's own, checked where it is given; changing the e-mail address may need it.
    #[serde(default, deserialize_with = "input::not_null")]
    #[schema(value_type = String, required = false, example = "correct horse battery")]
    current_password: Option<String>,
}

async fn change(
    (): (),
    caller: Caller,
    input: Change,
    profile: Arc<Profile>,
) -> Result<OkJson<User>> {
    let session = caller.session;
    let email = input::maybe("email", input.email.as_deref(), Email::parse)?;
    let change = ProfileChange {
        username: input::maybe("username", input.username.as_deref(), Username::parse)?,
        email: email.map(|email| AskedEmail { email, session }),
        picture: input.profile_picture,
        current_password: input.current_password,
    };
    Ok(OkJson(profile.change(caller.user, change).await?))
}

#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = DeleteProfile)]
struct Delete {
    /// One's own, to be sure.
    #[validate(required)]
    #[schema(value_type = String, example = "correct horse battery")]
    password: Option<String>,
}

async fn delete(
    (): (),
    caller: Caller,
    input: Delete,
    deletion: Arc<Deletion>,
) -> Result<NoContent> {
    deletion.delete(caller.user, input.password.unwrap_or_default()).await?;
    Ok(NoContent)
}

async fn export((): (), caller: Caller, exports: Arc<Exports>) -> Result<Response> {
    let pieces = exports.write(caller.user, caller.session).await?;
    // Too late for a problem: the connection breaks off, and the log says why.
    let pieces = pieces.inspect_err(
        |error| tracing::error!(event = "export_failed", %error, "cannot finish an export"),
    );
    let mut response = warp::reply::stream(shared(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let download = HeaderValue::from_static("attachment; filename=\"natter-export.json\"");
    headers.insert(header::CONTENT_DISPOSITION, download);
    Ok(response)
}
