//! How connections end.

use crate::domain::events::Envelope;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The server shuts down or is unavailable, or events may be missing: the client reconnects.
    Leaving,
    /// A violation of RFC 6455.
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
    /// All reasons.
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

    /// The close code (RFC 6455 §7.4) and the reason for developers.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::Leaving => (1001, "server shutting down or unavailable; reconnect with since"),
            Self::Protocol => (1002, "WebSocket protocol error (RFC 6455)"),
            Self::NotText => (1007, "text frame is not valid UTF-8"),
            Self::TooBig => (1009, "frame too large; the limit is 16 KiB"),
            Self::Malformed => {
                (4400, "malformed frame; send a JSON object with the documented fields")
            }
            Self::Unauthenticated => {
                (4401, "access token expired or session ended; reconnect with a new token")
            }
            Self::NoToken => (4408, "no access token in time; send an auth frame first"),
            Self::TooSlow => (4413, "client reads too slowly; reconnect with since"),
            Self::TooMany => (4429, "too many connections or frames; slow down, then reconnect"),
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The frame before the close frame.
    pub last: Option<Envelope>,
    /// The reason.
    pub close: Close,
}
