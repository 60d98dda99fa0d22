//! natter: a chat backend in one binary, REST and WebSocket over HTTPS on MongoDB and Redis.
//!
//! `ARCHITECTURE.md` walks through the layers; the direction of dependencies is
//! `main → app → {server, routes, realtime} → filters → services → jobs → {store, cache,
//! bus, mail} → domain`.

mod admission;
pub mod app;
mod bus;
mod cache;
pub mod check;
pub mod cli;
pub mod config;
mod domain;
mod error;
pub mod failpoint;
mod filters;
#[cfg(test)]
mod fuzzing;
pub mod healthcheck;
mod jobs;
mod lifecycle;
mod mail;
mod metrics;
mod realtime;
mod routes;
mod server;
mod services;
mod store;
pub mod telemetry;

pub use error::{Error, Result};
pub use routes::{asyncapi, openapi};

/// Parts of natter for its own tests and benches; no interface for anyone else.
#[doc(hidden)]
pub mod internals {
    pub use crate::cache::Redis;
    pub use crate::jobs::{Pace, Registry, Supervisor, start as start_jobs};
    pub use crate::lifecycle::{Drain, Shutdown};
    pub use crate::mail::Mailer;
    pub use crate::metrics::Metrics;
    pub use crate::routes::table;

    pub mod domain {
        pub use crate::domain::accounts::NewAccount;
        pub use crate::domain::clock::{Clock, Timestamp, random_bytes};
        pub use crate::domain::events::{AddressedEvent, Audience, Event, Position};
        pub use crate::domain::ids::{
            AttachmentId, ConversationId, GroupId, JobId, MessageId, SessionId, UserId,
        };
        pub use crate::domain::jobs;
        pub use crate::domain::notifications::NotificationId;
        pub use crate::domain::population::Population;
        pub use crate::domain::sessions::{Device, Session};
        pub use crate::domain::text::{Email, Username};
        pub use crate::domain::words::hashes_of;
    }

    pub mod filters {
        pub use crate::filters::context::RequestContext;
        pub use crate::filters::endpoint::{Access, Body, Class, Endpoint};
        pub use crate::filters::forwarded::Proxies;
        pub use crate::filters::guards::{Caller, Guards};
        pub use crate::filters::rate_limit::{Charge, RateLimits, Subject};
    }

    pub mod store {
        pub use crate::store::Repositories;
        pub use crate::store::events::Events;
        pub use crate::store::events::stream::SequencedEvent;
        pub use crate::store::indexing::{Batch, Indexed};
        pub use crate::store::messages::shard_of;
        pub use crate::store::schema;
        pub use crate::store::{Store, Tx};
    }

    pub mod services {
        pub use crate::services::access::Access;
        pub use crate::services::attachments::Attachments;
        pub use crate::services::budget::UnreadAnswers;
        pub use crate::services::seed::load::Made;
        pub use crate::services::seed::population::{PASSWORD, Populated, Progress, address};
        pub use crate::services::session_cache::SessionCache;
    }
}

/// Gives memory back after a flood, and counts what each thread takes (docs/decisions/0024).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
