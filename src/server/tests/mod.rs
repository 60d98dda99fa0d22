//! The server against real sockets.
pub(super) mod support;
