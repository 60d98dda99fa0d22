//! A transaction as its body sees it.

use std::collections::BTreeSet;

use mongodb::{ClientSession, Database};

/// A transaction under way: what its commands see is one moment, and what they write is there for
/// others all at once, or never. One of [`Store::snapshot`](super::Store::snapshot) has begun no
/// transaction and can only read. Its rows are reached by the names of their collections
/// ([`rows`](crate::store::rows)).
#[derive(derive_more::Debug)]
#[debug("Tx")]
pub struct Tx {
    session: ClientSession,
    database: Database,
    /// Kinds of jobs whose workers are woken after the commit.
    wakes: BTreeSet<String>,
}

impl Tx {
    pub(super) fn new(session: ClientSession, database: &Database) -> Self {
        Self { session, database: database.clone(), wakes: BTreeSet::new() }
    }

    pub(in crate::store) fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// Wakes the workers of a kind of job as soon as this transaction is committed.
    pub(in crate::store) fn wake(&mut self, kind: &str) {
        self.wakes.insert(kind.to_owned());
    }

    pub(super) fn parts(&mut self) -> (&Database, &mut ClientSession) {
        (&self.database, &mut self.session)
    }

    /// Kinds of jobs that this attempt has enqueued.
    pub(super) fn wakes(&self) -> impl Iterator<Item = &str> {
        self.wakes.iter().map(String::as_str)
    }

    /// Forgets the kinds of an attempt that came to nothing.
    pub(super) fn forget_wakes(&mut self) {
        self.wakes.clear();
    }
}
