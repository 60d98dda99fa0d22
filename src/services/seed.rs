//! Fixtures: made-up people, groups and messages to try natter with, and to test it on.

pub mod fixture;
pub mod load;
pub mod reference;
pub mod source;

mod check;
mod talk;

#[cfg(test)]
mod tests;
