//! The acceptance tests: one binary, real MongoDB and Redis, one database per test.

#![expect(clippy::expect_used, clippy::panic, reason = "a failing expectation is a failing test")]

mod accounts;
mod architecture;
mod friends;
mod groups;
mod guards;
mod attachments;
mod guards;
mod health;
mod messages;
mod notifications;
mod outages;
mod rate_limit;
mod queries;
mod schema;
mod support;
mod table;
