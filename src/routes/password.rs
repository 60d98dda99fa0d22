//! Another password: PUT /password, POST /password/forgot, GET and POST /password/reset.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Accepted, NoContent, page};
use crate::domain::text::{Email, Password};
use crate::error::Result;
use crate::filters::body;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::Services;
use crate::services::password_changes::PasswordChanges;

const CHANGE: Endpoint = Endpoint::put("/password", Class::Write).json();
const FORGOT: Endpoint = Endpoint::post("/password/forgot", Class::Auth).public().json();
const RESET: Endpoint = Endpoint::post("/password/reset", Class::Auth).public().json();
const RESET_PAGE: Endpoint = Endpoint::get("/password/reset", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[CHANGE, FORGOT, RESET, RESET_PAGE];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let (passwords, refused) = (with(&services.passwords), services.refuse_common_passwords);
    let check = move |input: &Change| {
        input::common_password(refused, "new_password", input.new_password.as_deref())
    };
    let change = guards.caller::<()>(&CHANGE).and(body::json_with(&CHANGE, check));
    let change = change.and(passwords.clone());
    let change = change.then(self::change).map(respond).boxed();
    let forgot = guards.public::<()>(&FORGOT).and(body::json(&FORGOT)).and(passwords.clone());
    let forgot = forgot.then(self::forgot).map(respond).boxed();
    let check =
        move |input: &Reset| input::common_password(refused, "password", input.password.as_deref());
    let reset = guards.public::<()>(&RESET).and(body::json_with(&RESET, check)).and(passwords);
    let reset = reset.then(self::reset).map(respond).boxed();
    let reset_page = guards.public::<()>(&RESET_PAGE);
    let reset_page = reset_page.map(|(), _| page(include_str!("reset.html"))).boxed();
    any_of([change, forgot, reset, reset_page])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.route(&CHANGE, "changePassword", "Change one's own password")
        .says("All other sessions end; a change of the e-mail address that waits is withdrawn.")
        .takes::<Change>()
        .gives_nothing(204, "It is changed.")
        .fails(&["forbidden", "account_locked"]);
    docs.route(&FORGOT, "forgotPassword", "Mail a link to set another password")
        .says(
            "The answer is the same whether anyone has the address or not. For 72 hours after a \
             change of address only the old one is mailed.",
        )
        .takes::<Forgot>()
        .gives_nothing(202, "If there is such an account, a link is on its way.");
    docs.route(&RESET, "resetPassword", "Set another password by a mailed link")
        .says("All sessions and older links end.")
        .takes::<Reset>()
        .gives_nothing(204, "It is set.")
        .fails(&["invalid_or_expired_token"]);
    docs.route(&RESET_PAGE, "resetPasswordPage", "The page behind the mailed link")
        .is_mailed_page();
}

#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = ChangePassword)]
struct Change {
    /// The one so far.
    #[validate(required)]
    #[schema(value_type = String, example = "correct horse battery")]
    current_password: Option<String>,
    /// The one to be.
    #[validate(required, custom(function = "input::password"))]
    #[schema(value_type = String, min_length = 8, max_length = 72, example = "battery horse staple")]
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

#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = ForgotPassword)]
struct Forgot {
    /// The address of the account.
    #[validate(required, custom(function = "input::email"))]
    #[schema(value_type = Email)]
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

#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = ResetPassword)]
struct Reset {
    /// From the mailed link.
    #[validate(required)]
    #[schema(value_type = String, example = "zY3Qm1w8dTn0bXkR5vLh2A")]
    token: Option<String>,
    /// The password to be.
    #[validate(required, custom(function = "input::password"))]
    #[schema(value_type = String, min_length = 8, max_length = 72, example = "battery horse staple")]
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
