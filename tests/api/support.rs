//! What the tests are told with: a running natter, and people who use it.

pub mod actor;
pub mod app;
pub mod audit;
pub mod contract;
pub mod frames;
pub mod instance;
pub mod json_schema;
pub mod mail;
pub mod raw;
pub mod replica_set;
pub mod scratch;
pub mod servers;
pub mod smtp;
pub mod socket;
pub mod stream;
pub mod talk;
pub mod wire;

pub use actor::{Actor, Answer};
pub use app::TestApp;
pub use scratch::Scratch;
