//! How connections end.

use crate::domain::events::Envelope;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The server is leaving, or cannot be sure that nothing was missed: come back elsewhere.
    Leaving,
    /// Not the protocol that was agreed on.
    Protocol,
    /// Text that is not UTF-8.
    NotText,
    /// A frame over 16 KiB.
    TooBig,
    /// Not JSON, not an object, or fields of wrong types.
    Malformed,
    /// The token has expired or the session has ended.
    Unauthenticated,
    /// No token in time.
    NoToken,
    /// Too slow a reader.
    TooSlow,
    /// Too many connections or frames.
    TooMany,
}

impl Close {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Leaving,
        Self::Protocol,
        Self::NotText,
        Self::TooBig,
        Self::Malformed,
        Self::Unauthenticated,
        Self::NoToken,
        Self::TooSlow,
        Self::TooMany,
    ];

    /// Its code (RFC 6455 §7.4) and what it says to people.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::Leaving => (1001, "the server is leaving: come back"),
            Self::Protocol => (1002, "not as RFC 6455 has it"),
            Self::NotText => (1007, "text is UTF-8"),
            Self::TooBig => (1009, "a frame is at most 16 KiB"),
            Self::Malformed => (4400, "not a JSON object of the expected fields"),
            Self::Unauthenticated => (4401, "the token has expired or the session has ended"),
            Self::NoToken => (4408, "no token in time"),
            Self::TooSlow => (4413, "too slow: come back with since"),
            Self::TooMany => (4429, "too many connections or frames"),
        }
    }
}

/// How a connection ends: perhaps with one last frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Sent before it is closed.
    pub last: Option<Envelope>,
    /// Why it is closed.
    pub close: Close,
}
