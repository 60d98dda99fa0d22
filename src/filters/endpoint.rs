//! The route table's rows, and the front filter that answers 404, 405 and OPTIONS from them.

use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::context::{RequestContext, context};
use super::json_or_multipart::claims_form;
use super::path::segments;
use super::problem;
use crate::domain::ids::{MessageId, UserId};
use crate::error::Error;

/// A method that some route takes. HEAD is answered as GET, OPTIONS from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// GET (and so HEAD).
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH (RFC 5789).
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    /// The method's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A class of rate limit; each has its own quota in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Public POSTs about accounts.
    Auth,
    /// Other reads.
    Read,
    /// Other changes.
    Write,
    /// Files.
    Upload,
    /// Searching.
    Search,
    /// Sockets and streams of events.
    Socket,
}

impl Class {
    /// The quota's name in settings and headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Read => "read",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::Search => "search",
            Self::Socket => "socket",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Whoever presents a live access token.
    Bearer,
    /// Whoever presents a live access token now, or will once the protocol has changed.
    Later,
}

/// What the route reads as a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing: whatever comes is not looked at.
    None,
    /// A JSON object of at most so many bytes.
    Json {
        /// Most bytes taken.
        limit: u64,
    },
    /// A form with a file (RFC 7578).
    Multipart,
    /// Either: a JSON object, or a form with the same fields and files.
    JsonOrMultipart {
        /// Most bytes of JSON, or of a form's fields.
        limit: u64,
        /// The rate limit that forms count against.
        form_class: Class,
    },
}

/// One row of the route table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Its method.
    pub verb: Verb,
    /// Its path, parameters in braces: `/groups/{group_id}/add`.
    pub path: &'static str,
    /// The rate limit that it counts against; `None` is unlimited.
    pub class: Option<Class>,
    /// Who may ask.
    pub access: Access,
    /// What it reads.
    pub body: Body,
}

impl Endpoint {
    const fn new(verb: Verb, path: &'static str, class: Class) -> Self {
        Self { verb, path, class: Some(class), access: Access::Bearer, body: Body::None }
    }

    /// A GET for whoever is signed in, without a body.
    #[must_use]
    pub const fn get(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Get, path, class)
    }

    /// A POST for whoever is signed in, without a body.
    #[must_use]
    pub const fn post(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Post, path, class)
    }

    /// A PUT for whoever is signed in, without a body.
    #[must_use]
    pub const fn put(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Put, path, class)
    }

    /// A PATCH for whoever is signed in, without a body.
    #[must_use]
    pub const fn patch(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Patch, path, class)
    }

    /// A DELETE for whoever is signed in, without a body.
    #[must_use]
    pub const fn delete(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Delete, path, class)
    }

    /// The same, for anyone.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// The same, for who shows their token now or later.
    #[must_use]
    pub const fn later(mut self) -> Self {
        self.access = Access::Later;
        self
    }

    /// The same, without a rate limit.
    #[must_use]
    pub const fn unlimited(mut self) -> Self {
        self.class = None;
        self
    }

    /// The same, reading a JSON object of up to 64 KiB.
    #[must_use]
    pub const fn json(self) -> Self {
        self.json_up_to(64 * 1024)
    }

    /// The same, reading a JSON object of up to `limit` bytes.
    #[must_use]
    pub const fn json_up_to(mut self, limit: u64) -> Self {
        self.body = Body::Json { limit };
        self
    }

    /// The same, reading a multipart form.
    #[must_use]
    pub const fn multipart(mut self) -> Self {
        self.body = Body::Multipart;
        self
    }

    /// The same, reading a JSON object of up to `limit` bytes or a multipart form, which counts
    /// against `form_class`.
    #[must_use]
    pub const fn json_or_multipart(mut self, limit: u64, form_class: Class) -> Self {
        self.body = Body::JsonOrMultipart { limit, form_class };
        self
    }

    /// The rate limit that a request with these headers counts against.
    #[must_use]
    pub fn class_of(&self, headers: &HeaderMap) -> Option<Class> {
        match self.body {
            Body::JsonOrMultipart { form_class, .. } if claims_form(headers) => Some(form_class),
            _ => self.class,
        }
    }

    /// Whether `path` is one of this row's, with well-formed parameters.
    fn takes(&self, path: &str) -> bool {
        segments(self.path, path).is_some_and(|params| {
            params.iter().all(|(name, value)| match *name {
                "message_id" => MessageId::from_str(value).is_ok(),
                "emoji" => !value.is_empty(),
                _ => UserId::from_str(value).is_ok(),
            })
        })
    }
}

/// Answers what the table alone can: an unknown path (404), an unknown method (405 with `Allow`)
/// and OPTIONS (204 with `Allow`). Everything else falls through to the routes. Notes in the
/// request's context which path of the table it is for.
pub fn front(table: Vec<Endpoint>) -> BoxedFilter<(Response,)> {
    warp::method()
        .and(warp::path::full())
        .and(context())
        .and_then(move |method: Method, path: warp::path::FullPath, context: Arc<_>| {
            let answer = answer(&table, &method, path.as_str(), &context);
            async move { answer.ok_or_else(warp::reject::not_found) }
        })
        .boxed()
}

fn answer(
    table: &[Endpoint],
    method: &Method,
    path: &str,
    context: &RequestContext,
) -> Option<Response> {
    // OPTIONS for the server as a whole (RFC 9110 §9.3.7).
    let is_for_all = method == Method::OPTIONS && path == "*";
    let rows: Vec<&Endpoint> = table.iter().filter(|row| is_for_all || row.takes(path)).collect();
    let Some(first) = rows.first() else {
        return Some(problem::response(Error::not_found()));
    };
    if !is_for_all {
        // Set once, by this front: no request passes another.
        let _ = context.route.set(first.path);
    }
    let mut verbs: Vec<Verb> = rows.iter().map(|row| row.verb).collect();
    if method != Method::OPTIONS && verbs.iter().any(|verb| verb.as_str() == method) {
        return None;
    }
    let mut response = if method == Method::OPTIONS {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        problem::response(Error::method_not_allowed())
    };
    verbs.sort_unstable();
    verbs.dedup();
    let mut names: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    if let Ok(allow) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    Some(response)
}

/// Matches this row's method and path and extracts its parameters.
pub fn at<P: super::path::PathParams>(
    endpoint: &Endpoint,
) -> impl Filter<Extract = (P,), Error = Rejection> + Clone + Send + Sync + 'static + use<P> {
    let endpoint = *endpoint;
    warp::method().and(warp::path::full()).and_then(
        move |method: Method, path: warp::path::FullPath| {
            let params = (method == endpoint.verb.as_str())
                .then(|| segments(endpoint.path, path.as_str()))
                .flatten()
                .and_then(|params| P::parse(&params));
            async move { params.ok_or_else(warp::reject::not_found) }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Endpoint; 3] = [
        Endpoint::get("/groups/{group_id}", Class::Read),
        Endpoint::put("/groups/{group_id}", Class::Write),
        Endpoint::post("/login", Class::Auth),
    ];

    async fn ask(method: &str, path: &str) -> Option<(u16, String)> {
        let front = front(TABLE.to_vec());
        let response = warp::test::request().method(method).path(path).filter(&front).await.ok()?;
        let allow = response.headers().get("allow").map(|v| v.to_str().expect("ASCII").to_owned());
        Some((response.status().as_u16(), allow.unwrap_or_default()))
    }

    #[tokio::test]
    async fn the_table_answers_for_paths_and_methods() {
        let group = "/groups/0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39";
        assert_eq!(ask("GET", group).await, None);
        assert_eq!(ask("POST", "/login").await, None);
        let allow = "GET, PUT, HEAD, OPTIONS".to_owned();
        assert_eq!(ask("OPTIONS", group).await, Some((204, allow.clone())));
        assert_eq!(ask("DELETE", group).await, Some((405, allow)));
        let all = "GET, POST, PUT, HEAD, OPTIONS".to_owned();
        assert_eq!(ask("OPTIONS", "*").await, Some((204, all)));
        assert_eq!(ask("GET", "*").await, Some((404, String::new())));
        let missing = [
            "/",
            "/./login",
            "/x/../login",
            "/login/",
            "//login",
            "/lo%67in",
            "/groups/x",
            "/groups/%7B%22$ne%22:1%7D",
        ];
        for path in missing {
            for method in ["GET", "POST", "OPTIONS"] {
                assert_eq!(ask(method, path).await, Some((404, String::new())), "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn a_row_extracts_typed_parameters() {
        let row = at::<(UserId,)>(&TABLE[0]);
        let id = UserId::random();
        let got = warp::test::request().path(&format!("/groups/{id}")).filter(&row).await;
        assert_eq!(got.ok(), Some((id,)));
        assert!(warp::test::request().path("/groups/1").filter(&row).await.is_err());
        let put = warp::test::request().method("PUT").path(&format!("/groups/{id}"));
        assert!(put.filter(&row).await.is_err());
    }
}
