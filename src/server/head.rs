//! Request heads that no route gets to see, by their target and `Host` alone.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, Request, Version};

use crate::error::Error;

/// Names a request, in its answer and in the log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request is refused before any route; `None` for all others.
///
/// `CONNECT` asks for a proxy, and an authority without a path asks for nothing that is here.
/// A request that names no host, two, or a malformed one is 400 (RFC 9112 §3.2, RFC 9113 §8.3.1).
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Error> {
    if !names_one_host(request) {
        let detail = "invalid Host; send exactly one host, with an optional port";
        return Some(Error::malformed("malformed_request", detail));
    }
    let is_for_a_proxy = request.method() == Method::CONNECT;
    (is_for_a_proxy || request.uri().path_and_query().is_none()).then(Error::not_found)
}

fn names_one_host<B>(request: &Request<B>) -> bool {
    let target = request.uri().authority();
    match (request.version(), host(request.headers())) {
        (_, Err(Malformed)) => false,
        (Version::HTTP_09 | Version::HTTP_10, Ok(_)) => true,
        // The target wins over `Host` if it has an authority, which must be there all the same.
        (Version::HTTP_11, Ok(host)) => host.is_some(),
        (_, Ok(None)) => target.is_some_and(is_host),
        (_, Ok(Some(host))) => target.is_none_or(|target| is_host(target) && *target == host),
    }
}

/// `Host` is there twice, or is no host.
struct Malformed;

/// The host that `Host` names, if it is there.
fn host(headers: &HeaderMap) -> Result<Option<Authority>, Malformed> {
    let mut lines = headers.get_all(HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Malformed);
    }
    let host = Authority::try_from(line.as_bytes()).map_err(|_| Malformed)?;
    if is_host(&host) { Ok(Some(host)) } else { Err(Malformed) }
}

/// A host and perhaps a port, without user information.
fn is_host(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let Some(rest) = text.strip_prefix(host).filter(|_| !host.is_empty()) else { return false };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.is_empty() || is_port(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, target: &str, hosts: &[&str]) -> Option<&'static str> {
        let mut request = Request::get(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        refusal(&request.body(()).unwrap()).map(|error| error.code())
    }

    #[test]
    fn a_request_names_one_host() {
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        for host in
            ["a", "A.example", "a.example:8443", "127.0.0.1:1", "[::1]:8443", "[::1]", "a:", "x_y"]
        {
            assert_eq!(asked(h1, "/", &[host]), None, "{host}");
            assert_eq!(asked(Version::HTTP_10, "/", &[host]), None, "{host}");
            assert_eq!(asked(h2, "/", &[host]), None, "{host}");
        }
        let bad = Some("malformed_request");
        for host in
            ["", "a b", "a/b", "u@a", "a:b", "a:99999", "a:1:2", "[::1", "::1", "a\\b", "a?b", ":1"]
        {
            assert_eq!(asked(h1, "/", &[host]), bad, "{host}");
            assert_eq!(asked(h2, "https://a/", &[host]), bad, "{host}");
        }
        for version in [Version::HTTP_10, h1, h2] {
            assert_eq!(asked(version, "/", &["a", "a"]), bad);
        }
        assert_eq!(asked(Version::HTTP_10, "/", &[]), None);
        assert_eq!(asked(h1, "/", &[]), bad);
        assert_eq!(asked(h1, "https://a/", &[]), bad);
        assert_eq!(asked(h1, "https://a/", &["b"]), None);
        assert_eq!(asked(h2, "/", &[]), bad);
        assert_eq!(asked(h2, "https://a/", &[]), None);
        assert_eq!(asked(h2, "https://a.example/", &["A.Example"]), None);
        assert_eq!(asked(h2, "https://a/", &["b"]), bad);
        assert_eq!(asked(h2, "https://u@a/", &[]), bad);
    }

    #[test]
    fn a_target_without_a_path_is_not_found() {
        assert_eq!(asked(Version::HTTP_11, "a.example:443", &["a"]), Some("not_found"));
        assert_eq!(asked(Version::HTTP_11, "https://a.example", &["a"]), None);
        let connect = Request::connect("a.example:443").header(HOST, "a.example:443").body(());
        assert_eq!(refusal(&connect.unwrap()).map(|error| error.code()), Some("not_found"));
    }
}
