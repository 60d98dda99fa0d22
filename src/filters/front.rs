//! The front of the routes, which answers 404, 405 and OPTIONS from the route table, and the filter
//! for one row.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::context::{RequestContext, context};
use super::endpoint::{Endpoint, Verb};
use super::path::{PathParams, segments};
use super::problem;
use crate::error::Error;

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
pub fn at<P: PathParams>(
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
    use crate::domain::ids::UserId;
    use crate::filters::endpoint::Class;

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
