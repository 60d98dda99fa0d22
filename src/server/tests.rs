//! The server against real sockets, with limits of milliseconds.
//!
//! A test waits for what must happen, with [`support::SOON`] as the bound for "never"; only what
//! must *not* happen is given a fixed time.

mod connections;
mod floods;
mod limits;
mod places;
mod refusals;
mod stop;
pub(super) mod support;
