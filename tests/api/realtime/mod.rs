//! Real time: sockets, and what comes over them.

mod asyncapi;
mod delivery;
mod limits;
mod protocol;
mod sessions;
mod slow;
mod visibility;
mod wire;
