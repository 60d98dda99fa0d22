//! natter: a chat backend in one binary, REST and WebSocket over HTTPS on MongoDB and Redis.
//!
//! `ARCHITECTURE.md` walks through the layers; the direction of dependencies is
//! `main → app → {server, routes, realtime} → filters → services → {repositories, cache, bus, mail}
//! → domain`.

pub mod admission;
pub mod app;
pub mod bus;
pub mod cache;
pub mod check;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod failpoint;
pub mod filters;
#[cfg(test)]
mod fuzzing;
pub mod healthcheck;
pub mod lifecycle;
pub mod mail;
pub mod metrics;
pub mod realtime;
pub mod repositories;
pub mod routes;
pub mod server;
pub mod services;
pub mod telemetry;

pub use error::{Error, Result};

/// Gives memory back after a flood, and counts what each thread takes (docs/decisions/0024).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
