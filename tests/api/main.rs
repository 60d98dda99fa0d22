//! The acceptance tests: one binary, real MongoDB and Redis, one database per test.

#![expect(clippy::expect_used, clippy::panic, reason = "a failing expectation is a failing test")]

mod accounts;
mod friends;
mod groups;
mod attachments;
mod health;
mod messages;
mod notifications;
mod schema;
mod seed;
mod support;
