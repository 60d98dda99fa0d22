//! Fixtures: made-up people, groups and messages to try natter with, and to test it on.

mod check;
pub mod fixture;
pub mod load;
pub mod reference;
pub mod source;

#[cfg(test)]
mod tests;
