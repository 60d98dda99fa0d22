//! The answer of the plain HTTP listener: the same path, over HTTPS.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use tower::Service;

use super::head;
use crate::filters::problem;

/// Answers every request with 308 to the public URL, its path and query kept. A head that is
/// refused everywhere is refused here, too.
///
/// The host always comes from the settings: one from the request would let whoever can make a
/// client send it lead that client, or a cache behind it, anywhere.
#[derive(Debug, Clone)]
pub(super) struct Redirect {
    base: String,
}

impl Redirect {
    pub fn to(public_url: &str) -> Self {
        Self { base: public_url.trim_end_matches('/').to_owned() }
    }

    fn location(&self, uri: &Uri) -> Option<HeaderValue> {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        // "*" of OPTIONS has no place in a URL.
        let target = if target.starts_with('/') { target } else { "/" };
        HeaderValue::from_str(&format!("{}{target}", self.base))
            .or_else(|_| HeaderValue::from_str(&self.base))
            .ok()
    }
}

impl<B> Service<Request<B>> for Redirect {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        if let Some(error) = head::refusal(&request) {
            *response.status_mut() = problem::status(error.kind());
            return ready(Ok(response));
        }
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        match self.location(request.uri()) {
            Some(location) => drop(response.headers_mut().insert(LOCATION, location)),
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(public_url: &str, target: &str) -> String {
        let location = Redirect::to(public_url).location(&target.parse().unwrap());
        location.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn path_and_query_are_kept_and_the_host_never_is() {
        for (target, expected) in [
            ("/", "https://chat.example/"),
            ("/a%2Fb?x=1&y=%20", "https://chat.example/a%2Fb?x=1&y=%20"),
            ("http://evil.example/a?b", "https://chat.example/a?b"),
            ("http://evil.example", "https://chat.example/"),
            ("//evil.example/a", "https://chat.example//evil.example/a"),
            ("*", "https://chat.example/"),
            ("evil.example:443", "https://chat.example/"),
        ] {
            assert_eq!(location("https://chat.example/", target), expected);
        }
    }

    #[test]
    fn port_and_path_of_the_public_url_are_kept() {
        assert_eq!(
            location("https://chat.example:8443/api/", "/users?q=a"),
            "https://chat.example:8443/api/users?q=a"
        );
    }
}
