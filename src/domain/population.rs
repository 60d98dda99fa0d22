//! A made-up population: how large it is, and which of all possible ones.

/// Everything that a population follows from: the same again is the same people, groups and
/// messages, with the same ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Accounts; at least 2.
    pub users: u32,
    /// Messages, direct ones and those to groups.
    pub messages: u32,
    /// Tells apart populations of the same size.
    pub random_seed: u32,
}
