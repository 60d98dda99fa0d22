//! Signing up, verifying, signing in: what one does without being signed in.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Accepted, Created, MailedLink, OkJson, page};
use super::sessions::device;
use crate::domain::sessions::SignedIn;
use crate::domain::text::{Email, Password, Username};
use crate::domain::users::User;
use crate::error::Result;
use crate::filters::body::{json, json_with};
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::Services;
use crate::services::accounts;
use crate::services::accounts::Accounts;

const SIGN_UP: Endpoint = Endpoint::post("/signup", Class::Auth).public().json();
const VERIFY: Endpoint = Endpoint::post("/verify", Class::Auth).public().json();
const VERIFY_PAGE: Endpoint = Endpoint::get("/verify", Class::Read).public();
const RESEND: Endpoint = Endpoint::post("/verify/resend", Class::Auth).public().json();
const LOGIN: Endpoint = Endpoint::post("/login", Class::Auth).public().json();

pub(super) const ENDPOINTS: &[Endpoint] = &[SIGN_UP, VERIFY, VERIFY_PAGE, RESEND, LOGIN];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let accounts = with(&services.accounts);
    let refused = services.refuse_common_passwords;
    let check = move |input: &SignUp| {
        input::common_password(refused, "password", input.password.as_deref())
    };
    let sign_up = guards.public::<()>(&SIGN_UP).and(json_with(&SIGN_UP, check));
    let sign_up = sign_up.and(accounts.clone());
    let sign_up = sign_up.then(self::sign_up).map(respond).boxed();
    let verify = guards.public::<()>(&VERIFY).and(json(&VERIFY)).and(accounts.clone());
    let verify = verify.then(self::verify).map(respond).boxed();
    let confirm = CONFIRM.template();
    let verify_page = guards.public::<()>(&VERIFY_PAGE).map(move |(), _| page(&confirm)).boxed();
    let resend = guards.public::<()>(&RESEND).and(json(&RESEND)).and(accounts.clone());
    let resend = resend.then(self::resend).map(respond).boxed();
    let login = guards.public::<()>(&LOGIN).and(json(&LOGIN)).and(accounts);
    let login = login.then(self::login).map(respond).boxed();
    any_of([sign_up, verify, verify_page, resend, login])
}

const CONFIRM: MailedLink = MailedLink {
    title: "Confirm your e-mail address",
    text: "One click, and this address is yours on natter.",
    button: "Confirm",
    done: "Thank you: your address is confirmed. You can sign in with it.",
    refusals: &[
        ("email_taken", "Someone else has confirmed this address in the meantime."),
        (
            "invalid_or_expired_token",
            "This link was used before, or is older than 24 hours. Ask for a new one.",
        ),
    ],
};

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Accounts", "Signing up, confirming the e-mail address, signing in.");
    docs.route(&SIGN_UP, "signUp", "Make an account")
        .says("A link to confirm the e-mail address is mailed; it works for 24 hours.")
        .takes::<SignUp>()
        .gives::<User>(201, "The account, not yet verified.")
        .fails(&["email_taken", "username_taken"]);
    docs.route(&VERIFY, "verify", "Confirm an e-mail address")
        .takes::<Verify>()
        .gives::<User>(200, "The account, verified.")
        .fails(&["email_taken", "invalid_or_expired_token"]);
    docs.route(&VERIFY_PAGE, "verifyPage", "The page behind the mailed link")
        .says("Its button posts the token: mail scanners follow links, and must not use them up.")
        .is_mailed_page();
    docs.route(&RESEND, "resendVerification", "Mail the link again")
        .takes::<Resend>()
        .gives_nothing(202, "Whether anyone waits for it or not.");
    docs.route(&LOGIN, "logIn", "Sign in")
        .takes::<Login>()
        .gives::<SignedIn>(200, "Tokens, and who signed in.")
        .fails(&["invalid_credentials", "account_not_verified", "account_locked"]);
}

#[derive(Deserialize, Validate, ToSchema)]
struct SignUp {
    /// Public; unique ignoring case, some are reserved.
    #[validate(required, custom(function = "input::username"))]
    #[schema(value_type = Username)]
    username: Option<String>,
    /// Unique ignoring case; a link is mailed there.
    #[validate(required, custom(function = "input::email"))]
    #[schema(value_type = Email)]
    email: Option<String>,
    /// 8 characters at least, 72 bytes at most, no NUL; perhaps not a common one.
    #[validate(required, custom(function = "input::password"))]
    #[schema(value_type = Password)]
    password: Option<String>,
}

async fn sign_up(
    (): (),
    _client: Client,
    input: SignUp,
    accounts: Arc<Accounts>,
) -> Result<Created<User>> {
    let input = accounts::SignUp {
        username: input::given("username", input.username.as_deref(), Username::parse)?,
        email: input::given("email", input.email.as_deref(), Email::parse)?,
        password: input::given("password", input.password.as_deref(), Password::parse)?,
    };
    Ok(Created(accounts.sign_up(input).await?))
}

#[derive(Deserialize, Validate, ToSchema)]
struct Verify {
    /// From the mailed link.
    #[validate(required)]
    #[schema(value_type = String, example = "zY3Qm1w8dTn0bXkR5vLh2A")]
    token: Option<String>,
}

async fn verify(
    (): (),
    _client: Client,
    input: Verify,
    accounts: Arc<Accounts>,
) -> Result<OkJson<User>> {
    Ok(OkJson(accounts.verify(input.token.as_deref().unwrap_or_default()).await?))
}

#[derive(Deserialize, Validate, ToSchema)]
struct Resend {
    /// The address that was signed up.
    #[validate(required, custom(function = "input::email"))]
    #[schema(value_type = Email)]
    email: Option<String>,
}

async fn resend(
    (): (),
    _client: Client,
    input: Resend,
    accounts: Arc<Accounts>,
) -> Result<Accepted> {
    accounts.resend(input::given("email", input.email.as_deref(), Email::parse)?).await?;
    Ok(Accepted)
}

#[derive(Deserialize, Validate, ToSchema)]
struct Login {
    /// The verified address.
    #[validate(required, custom(function = "input::email"))]
    #[schema(value_type = Email)]
    email: Option<String>,
    /// The password.
    #[validate(required)]
    #[schema(value_type = String, example = "correct horse ada")]
    password: Option<String>,
}

async fn login(
    (): (),
    client: Client,
    input: Login,
    accounts: Arc<Accounts>,
) -> Result<OkJson<SignedIn>> {
    let email = input::given("email", input.email.as_deref(), Email::parse)?;
    let password = input.password.unwrap_or_default();
    Ok(OkJson(accounts.login(&email, password, &device(client)).await?))
}
