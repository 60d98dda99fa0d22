//! Whom limits count: an account, or where there is none yet, an address.

use std::net::IpAddr;

use super::ids::UserId;

/// The address that limits count a client by: of IPv4 the address itself, also where it arrives
/// mapped into IPv6; of IPv6 the /64, which is what one subscriber has.
#[must_use]
pub fn subscriber(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
    }
}

/// The account or address that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Someone signed in.
    Account(UserId),
    /// Someone unknown, by what [`subscriber`] makes of the address.
    Address(IpAddr),
}

impl Subject {
    /// The subject of an address.
    #[must_use]
    pub fn address(addr: IpAddr) -> Self {
        Self::Address(subscriber(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(addr: &str) -> String {
        subscriber(addr.parse().expect("an address")).to_string()
    }

    #[test]
    fn ipv6_is_counted_by_its_64_bit_network() {
        for host in ["2001:db8:1:2::", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
            assert_eq!(counted(host), "2001:db8:1:2::");
        }
        assert_ne!(counted("2001:db8:1:3::1"), counted("2001:db8:1:2::1"));
    }

    #[test]
    fn ipv4_is_counted_by_itself_however_it_is_written() {
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_ne!(counted("192.0.2.7"), counted("192.0.2.8"));
    }
}
