//! Where made-up people may be put. Everyone can read their passwords, so whoever adds them to a
//! live service opens it.

/// Beside which accounts made-up people may be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Those of the same fixture or population only.
    OwnAccounts,
    /// Any: the operator says so.
    RealAccounts,
}

impl Beside {
    /// The permission as the operator gives it.
    #[must_use]
    pub fn of(real_accounts: bool) -> Self {
        if real_accounts { Self::RealAccounts } else { Self::OwnAccounts }
    }
}

/// The database has accounts that a fixture or population did not make; nothing was added.
#[derive(Debug, thiserror::Error)]
#[error(
    "database {database} has accounts that this did not make, and everyone knows the passwords of \
     made-up people: nothing was added; --beside-real-accounts adds them all the same"
)]
pub struct OtherAccounts {
    database: String,
}

impl OtherAccounts {
    /// Accounts in the database of this name.
    #[must_use]
    pub fn in_database(name: &str) -> Self {
        Self { database: name.to_owned() }
    }
}
