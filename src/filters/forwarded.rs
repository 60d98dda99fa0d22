//! The client's address as proxies report it: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::config::ForwardedHeader;

/// The proxies whose word counts, and where they give it.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Their addresses.
    pub trusted: Vec<IpNet>,
    /// The header that they write.
    pub header: ForwardedHeader,
}

impl Proxies {
    /// The client's address. The header is read from its right end, and only as far as each hop
    /// that reports is a trusted proxy: what a client writes there itself is never believed.
    pub fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut addr = peer.to_canonical();
        if !self.trusts(addr) {
            return addr;
        }
        for hop in self.hops(headers).into_iter().rev() {
            // Unknown, hidden or broken: the proxy that says so is the last one known.
            let Some(next) = hop else { break };
            addr = next.to_canonical();
            if !self.trusts(addr) {
                break;
            }
        }
        addr
    }

    fn trusts(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&addr))
    }

    /// The addresses that the one header gives which counts, the nearest last. Two headers never
    /// count together: proxies write one, and pass on the other as the client sent it.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        const LIST: &str = "x-forwarded-for";
        let is_list = match self.header {
            ForwardedHeader::Either => headers.contains_key(LIST),
            ForwardedHeader::XForwardedFor => true,
            ForwardedHeader::Forwarded => false,
        };
        let lines = headers.get_all(if is_list { LIST } else { "forwarded" });
        let mut hops = Vec::new();
        for line in lines {
            let Ok(line) = line.to_str() else {
                hops.push(None);
                continue;
            };
            if is_list {
                hops.extend(line.split(',').map(node));
            } else {
                hops.extend(outside_quotes(line, ',').into_iter().map(element));
            }
        }
        hops
    }
}

/// The `for` of an element of `Forwarded`.
fn element(element: &str) -> Option<IpAddr> {
    let pairs = outside_quotes(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
    let mut given = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = given.next().filter(|_| given.next().is_none())?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    node(quoted.unwrap_or(value))
}

/// The parts of a text between separators that are in no quoted string.
fn outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|character: char| {
        let ends = character == separator && !is_quoted;
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && is_quoted && !is_escaped;
        ends
    });
    let parts = parts.collect();
    // A client's quote without an end must not swallow what the proxy adds after it.
    if is_quoted { text.split(separator).collect() } else { parts }
}

/// An address, perhaps with a port: `192.0.2.7`, `192.0.2.7:443`, `2001:db8::7`, `[2001:db8::7]`,
/// `[2001:db8::7]:443`. The port may be a name (RFC 7239 §6).
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, port) = rest.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return addr.parse::<Ipv6Addr>().ok().filter(|_| fits).map(IpAddr::V6);
    }
    let (addr, port) = text.split_once(':')?;
    addr.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
}

/// A number, or an obfuscated name.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            let is_named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            !name.is_empty() && name.bytes().all(is_named)
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ForwardedHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "::1/128", "2001:db8:f::/48"];
        Proxies { trusted: trusted.map(|net| net.parse().expect("a net")).to_vec(), header }
    }

    /// The client's address where the peer is a trusted proxy.
    fn seen(header: ForwardedHeader, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header value"));
        }
        proxies(header).client_of([10, 0, 0, 1].into(), &headers).to_string()
    }

    fn list(value: &str) -> String {
        seen(ForwardedHeader::Either, &[("x-forwarded-for", value)])
    }

    fn standard(value: &str) -> String {
        seen(ForwardedHeader::Either, &[("forwarded", value)])
    }

    #[test]
    fn entries_may_have_ports_and_brackets() {
        for (entry, addr) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:DB8::7]:443", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:1", "203.0.113.7"),
            (" \t203.0.113.7:1 ", "203.0.113.7"),
            ("198.51.100.1:1, 203.0.113.7:2,10.0.0.2:3 , [2001:db8:f::1]:4", "203.0.113.7"),
        ] {
            assert_eq!(list(entry), addr, "{entry}");
        }
        for broken in [
            "",
            "unknown",
            "_hidden",
            "203.0.113.7:",
            "203.0.113.7:x",
            "203.0.113.7:123456",
            "203.0.113.7:1:2",
            "[203.0.113.7]:1",
            "[2001:db8::7",
            "2001:db8::7]:443",
            "[2001:db8::7]443",
            "[fe80::1%eth0]",
            "\"203.0.113.7\"",
            "203.0.113.007",
            "<script>",
            "203.0.113.7,",
        ] {
            assert_eq!(list(broken), "10.0.0.1", "{broken}");
            assert_eq!(list(&format!("203.0.113.7,{broken}")), "10.0.0.1", "{broken}");
            assert_eq!(list(&format!("{broken},203.0.113.7")), "203.0.113.7", "{broken}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        for (value, addr) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"203.0.113.7:4711\"", "203.0.113.7"),
            ("FOR=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]:_a.b\"", "2001:db8:cafe::17"),
            ("proto=https;by=203.0.113.43;for=192.0.2.60;host=x", "192.0.2.60"),
            ("host=\"a,for=1.2.3.4;b\\\"\" ; for=192.0.2.60", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=\"x, for=198.51.100.17", "198.51.100.17"),
            ("for=\"\\, for=\"[2001:db8::7]:1\"", "2001:db8::7"),
            ("for=192.0.2.43,for=10.0.0.7;by=x, for=\"10.0.0.8:1\"", "192.0.2.43"),
        ] {
            assert_eq!(standard(value), addr, "{value}");
        }
        for broken in [
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK\"",
            "for=",
            "for=\"\"",
            "by=203.0.113.7",
            "for=203.0.113.7;for=203.0.113.8",
            "for=\"203.0.113.7",
            "203.0.113.7",
            "host=\"for=203.0.113.7",
        ] {
            assert_eq!(standard(broken), "10.0.0.1", "{broken}");
            assert_eq!(standard(&format!("for=203.0.113.7, {broken}")), "10.0.0.1", "{broken}");
        }
    }

    #[test]
    fn one_header_counts() {
        use ForwardedHeader::{Either, Forwarded, XForwardedFor};
        let both = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.2")];
        assert_eq!(seen(Either, &both), "203.0.113.1");
        assert_eq!(seen(XForwardedFor, &both), "203.0.113.1");
        assert_eq!(seen(Forwarded, &both), "203.0.113.2");
        assert_eq!(seen(Either, &both[1..]), "203.0.113.2");
        assert_eq!(seen(XForwardedFor, &both[1..]), "10.0.0.1");
        assert_eq!(seen(Forwarded, &both[..1]), "10.0.0.1");
        let unreadable = [("x-forwarded-for", "\"\u{e9}\""), ("forwarded", "for=203.0.113.2")];
        assert_eq!(seen(Either, &unreadable), "10.0.0.1");
        let lines = [("forwarded", "for=1.2.3.4"), ("forwarded", "for=203.0.113.2;by=x")];
        assert_eq!(seen(Either, &lines), "203.0.113.2");
    }

    #[test]
    fn nothing_counts_from_others() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "198.51.100.7".parse().expect("a header value"));
        headers.append("forwarded", "for=198.51.100.7".parse().expect("a header value"));
        let stranger: IpAddr = [192, 0, 2, 1].into();
        for header in [ForwardedHeader::Either, ForwardedHeader::Forwarded] {
            assert_eq!(proxies(header).client_of(stranger, &headers), stranger);
        }
        let proxy: IpAddr = [10, 0, 0, 1].into();
        assert_eq!(Proxies::default().client_of(proxy, &headers), proxy);
    }
}
