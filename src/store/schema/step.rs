//! One difference between the database and the definitions, as a line for people.

use std::fmt;

/// A difference: something that [`apply`](super::apply) makes or changes, or something that it
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
    /// A validator, or how it is applied, is another one than in `indexes/`.
    Change {
        /// The collection's name.
        collection: String,
        /// `validator`, `validationLevel` or `validationAction`.
        option: String,
        /// How it is in the database.
        found: String,
        /// How it is in `indexes/`.
        wanted: String,
    },
    /// The same, but definitions that came after these have set it; left as it is.
    Newer {
        /// The collection's name.
        collection: String,
        /// As in [`Step::Change`].
        option: String,
    },
    /// Something is defined otherwise than in `indexes/`; left as it is.
    Differs {
        /// The collection's name.
        collection: String,
        /// An option, `index NAME`, `shard key`.
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
    /// Whether `apply` does it.
    #[must_use]
    pub fn is_due(&self) -> bool {
        matches!(
            self,
            Self::CreateCollection { .. }
                | Self::CreateIndex { .. }
                | Self::Shard { .. }
                | Self::Change { .. }
        )
    }

    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::Change { .. })
    }

    /// The same step where these definitions have been superseded.
    pub(super) fn left_to_newer(self) -> Self {
        match self {
            Self::Change { collection, option, .. } => Self::Newer { collection, option },
            other => other,
        }
    }

    pub(super) fn is_shard(&self) -> bool {
        matches!(self, Self::Shard { .. })
    }

    /// Whether it is something to do in this collection.
    pub(super) fn concerns(&self, name: &str) -> bool {
        match self {
            Self::CreateCollection { collection }
            | Self::CreateIndex { collection, .. }
            | Self::Shard { collection }
            | Self::Change { collection, .. } => collection == name,
            Self::Newer { .. } | Self::Differs { .. } | Self::Unknown { .. } => false,
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
            Self::Change { collection, option, found, wanted } => {
                write!(f, "change {option} of {collection}: is {found}, defined as {wanted}")
            }
            Self::Newer { collection, option } => write!(
                f,
                "leave alone {option} of {collection}, which newer definitions have set (natter \
                 indexes apply sets it back)"
            ),
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
