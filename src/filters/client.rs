//! The client's address: the peer's, or what a trusted proxy says of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderMap;
use warp::Filter;

use super::context::{RequestContext, context};
use super::forwarded::Proxies;

/// Who is at the other end, as far as the network tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's own address; IPv4 mapped into IPv6 is IPv4.
    pub addr: IpAddr,
    /// What it calls itself, cut to 256 characters.
    pub user_agent: Option<String>,
}

/// Extracts the [`Client`].
pub fn client(
    proxies: Arc<Proxies>,
) -> impl Filter<Extract = (Client,), Error = Infallible> + Clone + Send + Sync + 'static {
    context().and(headers()).map(move |context: Arc<RequestContext>, headers: HeaderMap| {
        let peer = context.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let user_agent = headers.get(http::header::USER_AGENT);
        Client {
            addr: proxies.client_of(peer, &headers),
            user_agent: user_agent
                .map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(256).collect()),
        }
    })
}

/// All headers, infallibly.
fn headers() -> impl Filter<Extract = (HeaderMap,), Error = Infallible> + Copy + Send + Sync {
    warp::header::headers_cloned()
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;

    async fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted = trusted.iter().map(|net| net.parse().expect("a net")).collect::<Vec<IpNet>>();
        let context = Arc::new(RequestContext::new(Some(peer.parse().expect("an address")), None));
        let mut lines = HeaderMap::new();
        for line in forwarded {
            lines.append("x-forwarded-for", line.parse().expect("a header value"));
        }
        // warp's test request keeps the last line only.
        let proxies = Arc::new(Proxies { trusted, ..Proxies::default() });
        let direct = proxies.client_of(context.peer.expect("given"), &lines).to_string();
        let Some((line, [])) = forwarded.split_last() else { return direct };
        let request = warp::test::request().extension(context).header("x-forwarded-for", *line);
        let client = request.filter(&client(proxies)).await.expect("infallible");
        assert_eq!(client.addr.to_string(), direct);
        direct
    }

    #[tokio::test]
    async fn forwarded_addresses_come_from_trusted_proxies_only() {
        let proxies = ["10.0.0.0/8", "::1/128"];
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"], &proxies).await, "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"], &[]).await, "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"], &proxies).await, "198.51.100.7");
        assert_eq!(seen("::ffff:10.0.0.1", &["2001:db8::7"], &proxies).await, "2001:db8::7");
        assert_eq!(
            seen("10.0.0.1", &["1.2.3.4, 198.51.100.7, 10.0.0.2"], &proxies).await,
            "198.51.100.7"
        );
        assert_eq!(seen("10.0.0.1", &["1.2.3.4", "198.51.100.7"], &proxies).await, "198.51.100.7");
        let spread = ["1.2.3.4, 198.51.100.7", "10.0.0.3", "10.0.0.2"];
        assert_eq!(seen("10.0.0.1", &spread, &proxies).await, "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7", "1.2.3.4"], &proxies).await, "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, <script>"], &proxies).await, "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[], &proxies).await, "10.0.0.1");
    }

    /// Nothing that a client writes counts unless the peer is a trusted proxy, and then nothing
    /// that is no address.
    #[test]
    fn fuzz_forwarded() {
        let words = [
            "203.0.113.7",
            "[2001:db8::7]",
            "::ffff:10.0.0.1",
            "10.0.0.1",
            ":443",
            ",",
            ";",
            "for=",
            "by=",
            "proto=https",
            "\"",
            "unknown",
            "_hidden",
            "\t",
            "\n",
            "FOR=\"[2001:db8::7]:443\"",
            "host=x",
        ];
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        let proxies = Proxies { trusted, ..Proxies::default() };
        let (proxy, stranger): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [192, 0, 2, 1].into());
        crate::fuzzing::fuzz("forwarded", &words, |input| {
            let mut headers = HeaderMap::new();
            for line in input.split(|byte| *byte == b'\n') {
                let (name, value) = match line.strip_prefix(b"F ") {
                    Some(value) => ("forwarded", value),
                    None => ("x-forwarded-for", line),
                };
                if let Ok(value) = http::HeaderValue::from_bytes(value) {
                    headers.append(name, value);
                }
            }
            assert_eq!(proxies.client_of(stranger, &headers), stranger);
            let seen = proxies.client_of(proxy, &headers);
            assert_eq!(seen, seen.to_canonical());
        });
    }
}
