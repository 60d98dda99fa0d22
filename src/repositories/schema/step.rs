//! One difference between the database and the definitions, as a line for people.

use std::fmt;

/// A difference: something missing, which [`apply`](super::apply) makes, or something that it
/// leaves to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A collection is missing.
    CreateCollection {
        /// Its name.
        collection: String,
    },
    /// An index is missing.
    CreateIndex {
        /// The collection's name.
        collection: String,
        /// The index's name.
        index: String,
    },
    /// A collection is not spread over the shards behind mongos.
    Shard {
        /// Its name.
        collection: String,
    },
    /// Something is defined otherwise than in `indexes/`; left as it is.
    Differs {
        /// The collection's name.
        collection: String,
        /// `validator` or another option, `index NAME`, `shard key`.
        what: String,
        /// How it is in the database.
        found: String,
        /// How it is in `indexes/`.
        wanted: String,
    },
    /// Something that no definition knows; left as it is.
    Unknown {
        /// `collection NAME` or `index NAME of COLLECTION`.
        what: String,
    },
}

impl Step {
    /// Whether `apply` makes it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::CreateCollection { .. } | Self::CreateIndex { .. } | Self::Shard { .. }
        )
    }

    pub(super) fn is_shard(&self) -> bool {
        matches!(self, Self::Shard { .. })
    }

    /// Whether it is something to make in this collection.
    pub(super) fn concerns(&self, name: &str) -> bool {
        match self {
            Self::CreateCollection { collection }
            | Self::CreateIndex { collection, .. }
            | Self::Shard { collection } => collection == name,
            Self::Differs { .. } | Self::Unknown { .. } => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCollection { collection } => write!(f, "create collection {collection}"),
            Self::CreateIndex { collection, index } => {
                write!(f, "create index {index} of {collection}")
            }
            Self::Shard { collection } => write!(f, "shard collection {collection}"),
            Self::Differs { collection, what, found, wanted } => {
                let remedy = if what.starts_with("index ") {
                    "drop it by hand and it is made anew"
                } else {
                    "change it by hand"
                };
                write!(
                    f,
                    "leave alone {what} of {collection}, which differs ({remedy}): is {found}, \
                     defined as {wanted}"
                )
            }
            Self::Unknown { what } => write!(f, "leave alone {what}, which is not defined"),
        }
    }
}
