//! What handlers answer with: a status and a JSON body.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp::Reply;
use warp::reply::Response;

use crate::domain::clock::random_bytes;
use crate::domain::ids::UserId;
use crate::error::Error;
use crate::filters::problem;

/// 200 with a JSON body.
#[derive(Debug)]
pub(super) struct OkJson<T>(pub T);

/// 201 with a JSON body.
#[derive(Debug)]
pub(super) struct Created<T>(pub T);

/// The body that says that someone was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Removed {
    /// Who.
    user_id: UserId,
    /// Always true.
    #[schema(example = true)]
    removed: bool,
}

impl Removed {
    /// This user was.
    pub(super) fn of(user_id: UserId) -> Self {
        Self { user_id, removed: true }
    }
}

/// 202 without a body.
#[derive(Debug)]
pub(super) struct Accepted;

/// 204.
#[derive(Debug)]
pub(super) struct NoContent;

/// 200 with JSON that stands already.
pub(super) fn json_text(text: &Bytes) -> Response {
    let mut response = Response::new(text.clone().into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl Reply for Accepted {
    fn into_response(self) -> Response {
        empty(StatusCode::ACCEPTED)
    }
}

impl Reply for NoContent {
    fn into_response(self) -> Response {
        empty(StatusCode::NO_CONTENT)
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

impl<T: Serialize + Send> Reply for OkJson<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize + Send> Reply for Created<T> {
    fn into_response(self) -> Response {
        json(StatusCode::CREATED, &self.0)
    }
}

/// What a mailed link leads to. A page, because programs follow links in mails, and its button
/// posts the token. The page reads that from its own address: nothing of it is in here. It may run
/// and show what bears its nonce, ask only this service, and tells nobody where it was.
pub(super) fn page(template: &str) -> Response {
    page_with(template, "")
}

/// The words of a page whose button posts the token to the page's own path.
pub(super) struct MailedLink {
    pub title: &'static str,
    pub text: &'static str,
    pub button: &'static str,
    /// The text after success.
    pub done: &'static str,
    /// The texts for refusals that a repetition would not change, by their codes.
    pub refusals: &'static [(&'static str, &'static str)],
}

impl MailedLink {
    /// The template of the page, for [`page`].
    pub fn template(&self) -> String {
        let refusals =
            self.refusals.iter().map(|(code, text)| ((*code).to_owned(), (*text).into()));
        include_str!("mailed_link.html")
            .replace("{title}", self.title)
            .replace("{text}", self.text)
            .replace("{button}", self.button)
            .replace("{done}", &Value::from(self.done).to_string())
            .replace("{refusals}", &Value::Object(refusals.collect()).to_string())
    }
}

/// As [`page`], under a policy that also says `more`, a directive with its semicolon.
pub(super) fn page_with(template: &str, more: &str) -> Response {
    let nonce = URL_SAFE_NO_PAD.encode(random_bytes::<16>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; {more}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = template.replace("{nonce}", &nonce);
    let mut response = Response::new(bytes::Bytes::from(page).into());
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    match HeaderValue::from_str(&policy) {
        Ok(policy) => {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(error) => problem::response(Error::internal(error)),
    }
}

/// A JSON body under any status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(bytes::Bytes::from(body).into());
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => problem::response(Error::internal(error)),
    }
}
