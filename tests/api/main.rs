//! The acceptance tests: one binary, real MongoDB and Redis, one database per test.

#![expect(clippy::expect_used, clippy::panic, reason = "a failing expectation is a failing test")]

mod accounts;
mod health;
mod profile;
mod schema;
mod sessions;
mod support;
mod users;
