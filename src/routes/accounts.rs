//! Signing up, verifying, signing in: what one does without being signed in.

use std::sync::Arc;

use serde::Deserialize;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::reply::{Accepted, Created, Found, page};
use super::sessions::device;
use crate::domain::sessions::SignedIn;
use crate::domain::text::{Email, Password, Username};
use crate::domain::users::User;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::Services;
use crate::services::accounts::{self, Accounts};

const SIGN_UP: Endpoint = Endpoint::post("/signup", Class::Auth).public().json();
const VERIFY: Endpoint = Endpoint::post("/verify", Class::Auth).public().json();
const VERIFY_PAGE: Endpoint = Endpoint::get("/verify", Class::Read).public();
const RESEND: Endpoint = Endpoint::post("/verify/resend", Class::Auth).public().json();
const LOGIN: Endpoint = Endpoint::post("/login", Class::Auth).public().json();

pub(super) const ENDPOINTS: &[Endpoint] = &[SIGN_UP, VERIFY, VERIFY_PAGE, RESEND, LOGIN];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let accounts = with(&services.accounts);
    let sign_up = guards.public::<()>(&SIGN_UP).and(json(&SIGN_UP)).and(accounts.clone());
    let sign_up = sign_up.then(self::sign_up).map(respond).boxed();
    let verify = guards.public::<()>(&VERIFY).and(json(&VERIFY)).and(accounts.clone());
    let verify = verify.then(self::verify).map(respond).boxed();
    let verify_page =
        guards.public::<()>(&VERIFY_PAGE).map(|(), _| page(include_str!("verify.html"))).boxed();
    let resend = guards.public::<()>(&RESEND).and(json(&RESEND)).and(accounts.clone());
    let resend = resend.then(self::resend).map(respond).boxed();
    let login = guards.public::<()>(&LOGIN).and(json(&LOGIN)).and(accounts);
    let login = login.then(self::login).map(respond).boxed();
    any_of([sign_up, verify, verify_page, resend, login])
}

#[derive(Deserialize, Validate)]
struct SignUp {
    #[validate(required, custom(function = "input::username"))]
    username: Option<String>,
    #[validate(required, custom(function = "input::email"))]
    email: Option<String>,
    #[validate(required, custom(function = "input::password"))]
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

#[derive(Deserialize, Validate)]
struct Verify {
    #[validate(required)]
    token: Option<String>,
}

async fn verify(
    (): (),
    _client: Client,
    input: Verify,
    accounts: Arc<Accounts>,
) -> Result<Found<User>> {
    Ok(Found(accounts.verify(input.token.as_deref().unwrap_or_default()).await?))
}

#[derive(Deserialize, Validate)]
struct Resend {
    #[validate(required, custom(function = "input::email"))]
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

#[derive(Deserialize, Validate)]
struct Login {
    #[validate(required, custom(function = "input::email"))]
    email: Option<String>,
    #[validate(required)]
    password: Option<String>,
}

async fn login(
    (): (),
    client: Client,
    input: Login,
    accounts: Arc<Accounts>,
) -> Result<Found<SignedIn>> {
    let email = input::given("email", input.email.as_deref(), Email::parse)?;
    let password = input.password.unwrap_or_default();
    Ok(Found(accounts.login(&email, password, &device(client)).await?))
}
