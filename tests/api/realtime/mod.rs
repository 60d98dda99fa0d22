//! Real time: sockets, and what comes over them.

mod asyncapi;
mod delivery;
