//! Made-up people, groups and messages to try natter with, and to test it on: a fixture that
//! somebody wrote, or a population of any size.

pub mod fixture;
pub mod load;
pub mod population;
pub mod reference;
pub mod source;

mod check;
mod read;
mod talk;

#[cfg(test)]
mod tests;
