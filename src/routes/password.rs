//! Another password: PUT /password, POST /password/forgot, GET and POST /password/reset.

use std::sync::Arc;

use serde::Deserialize;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::reply::{Accepted, NoContent, page};
use crate::domain::text::{Email, Password};
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::password::PasswordChanges;

const CHANGE: Endpoint = Endpoint::put("/password", Class::Write).json();
const FORGOT: Endpoint = Endpoint::post("/password/forgot", Class::Auth).public().json();
const RESET: Endpoint = Endpoint::post("/password/reset", Class::Auth).public().json();
const RESET_PAGE: Endpoint = Endpoint::get("/password/reset", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[CHANGE, FORGOT, RESET, RESET_PAGE];

pub(super) fn routes(
    guards: &Guards,
    passwords: &Arc<PasswordChanges>,
) -> BoxedFilter<(Response,)> {
    let passwords = with(passwords);
    let change = guards.caller::<()>(&CHANGE).and(json(&CHANGE)).and(passwords.clone());
    let change = change.then(self::change).map(respond).boxed();
    let forgot = guards.public::<()>(&FORGOT).and(json(&FORGOT)).and(passwords.clone());
    let forgot = forgot.then(self::forgot).map(respond).boxed();
    let reset = guards.public::<()>(&RESET).and(json(&RESET)).and(passwords);
    let reset = reset.then(self::reset).map(respond).boxed();
    let reset_page = guards.public::<()>(&RESET_PAGE);
    let reset_page = reset_page.map(|(), _| page(include_str!("reset.html"))).boxed();
    any_of([change, forgot, reset, reset_page])
}

#[derive(Deserialize, Validate)]
struct Change {
    #[validate(required)]
    current_password: Option<String>,
    #[validate(required, custom(function = "input::password"))]
    new_password: Option<String>,
}

async fn change(
    (): (),
    caller: Caller,
    input: Change,
    passwords: Arc<PasswordChanges>,
) -> Result<NoContent> {
    let new = input::given("new_password", input.new_password.as_deref(), Password::parse)?;
    let current = input.current_password.unwrap_or_default();
    passwords.change(caller.user, caller.session, current, new).await?;
    Ok(NoContent)
}

#[derive(Deserialize, Validate)]
struct Forgot {
    #[validate(required, custom(function = "input::email"))]
    email: Option<String>,
}

async fn forgot(
    (): (),
    _client: Client,
    input: Forgot,
    passwords: Arc<PasswordChanges>,
) -> Result<Accepted> {
    passwords.forgot(input::given("email", input.email.as_deref(), Email::parse)?).await?;
    Ok(Accepted)
}

#[derive(Deserialize, Validate)]
struct Reset {
    #[validate(required)]
    token: Option<String>,
    #[validate(required, custom(function = "input::password"))]
    password: Option<String>,
}

async fn reset(
    (): (),
    _client: Client,
    input: Reset,
    passwords: Arc<PasswordChanges>,
) -> Result<NoContent> {
    let new = input::given("password", input.password.as_deref(), Password::parse)?;
    passwords.reset(input.token.as_deref().unwrap_or_default(), new).await?;
    Ok(NoContent)
}
