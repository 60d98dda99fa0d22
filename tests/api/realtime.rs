//! Real time: sockets, and what comes over them.

mod asyncapi;
mod broken;
mod delivered;
mod delivery;
mod every_frame;
mod limits;
mod presence;
mod profiles;
mod protocol;
mod sessions;
mod slow;
mod sse;
mod sync;
mod typing;
mod visibility;
mod wire;
