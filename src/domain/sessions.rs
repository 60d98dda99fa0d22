//! Sessions: signed-in devices.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::ids::{SessionId, UserId};
use super::users::User;

/// How long an access token is good for.
pub const ACCESS_LIFETIME: Duration = Duration::from_hours(1);

/// Where a session is used from, as far as the network tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its address.
    pub ip: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

impl Device {
    /// The network that its address is in.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        network_of(self.ip)
    }
}

/// The network that an address is in, as far as it tells one place from another: the /24 of IPv4,
/// the /48 of IPv6.
#[must_use]
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::V4([a, b, c, 0].into())
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::V6([a, b, c, 0, 0, 0, 0, 0].into())
        }
    }
}

/// One signed-in device of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Counts its token pairs: 1 is the one from signing in, each refresh makes the next.
    pub generation: u32,
    /// When the newest pair was made.
    pub renewed_at: Timestamp,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last seen, to within a minute.
    pub last_used_at: Timestamp,
    /// Its last address.
    pub ip: String,
    /// What its last client called itself.
    pub user_agent: Option<String>,
}

/// The claims of a token that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticatedSession {
    /// Whose it is.
    pub user: UserId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// What signing in or refreshing gives.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SignedIn {
    /// The JWT for `Authorization: Bearer`.
    #[schema(example = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.eyJzdWIiOiIzZjJiOGMxZSJ9.c2lnbmF0dXJl")]
    pub access_token: String,
    /// Always `Bearer` (RFC 6750).
    #[schema(value_type = String, pattern = "^Bearer$", example = "Bearer")]
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 3600, minimum = 1)]
    pub expires_in: i64,
    /// The opaque token that gives the next pair, once.
    #[schema(example = "q1Zb0l2mT8fJxwY5sHk3Rg")]
    pub refresh_token: String,
    /// Who signed in.
    pub user: User,
}

/// A session as its owner sees it in the list of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SignedInDevice {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last seen, to within a minute.
    pub last_used_at: Timestamp,
    /// Its last address.
    #[schema(example = "203.0.113.7")]
    pub ip: String,
    /// What its last client called itself.
    #[schema(example = "Mozilla/5.0")]
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    #[schema(example = true)]
    pub current: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_24_bits_of_ipv4_and_48_of_ipv6() {
        let network = |ip: &str| network_of(ip.parse().expect("an address")).to_string();
        assert_eq!(network("203.0.113.7"), "203.0.113.0");
        assert_eq!(network("::ffff:203.0.113.200"), "203.0.113.0");
        assert_eq!(network("2001:db8:1:ffff::1"), "2001:db8:1::");
        assert_ne!(network("2001:db8:2::1"), network("2001:db8:1::1"));
    }
}
