//! What the load tools share: an instance of their own, the people on it and their connections,
//! and what is said of the machine.

pub mod client;
pub mod instance;
pub mod machine;
pub mod people;
pub mod report;

use natter::app::Failure;

pub type Result<T> = std::result::Result<T, Failure>;
