//! Real time: sockets, and what comes over them.

mod delivered;
mod delivery;
mod presence;
mod typing;
