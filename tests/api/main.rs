//! The acceptance tests: one binary, real MongoDB and Redis, one database per test.

#![expect(clippy::expect_used, clippy::panic, reason = "a failing expectation is a failing test")]

mod accounts;
mod architecture;
mod attachments;
mod blocks;
mod deletion;
mod docs;
mod events;
mod every_route;
mod export;
mod faults;
mod friends;
mod groups;
mod guards;
mod hashing;
mod health;
mod inbox;
mod lockouts;
mod mail;
mod markup;
mod matrices;
mod mentions;
mod messages;
mod metrics;
mod names;
mod notifications;
mod openapi;
mod outages;
mod password;
mod population;
mod profile;
mod queries;
mod quotas;
mod rate_limit;
mod realtime;
mod revisions;
mod schema;
mod search;
mod seed;
mod sending;
mod sessions;
mod support;
mod table;
mod users;
mod walks;
