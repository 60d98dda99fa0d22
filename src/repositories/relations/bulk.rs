//! Relations that were long before anyone looked.

use super::Relations;
use super::row::Row;
use crate::error::Result;
use crate::repositories::bulk::{Acquaintance, insert};

impl Relations {
    /// Puts those there that are absent.
    pub(in crate::repositories) async fn put(&self, pairs: &[Acquaintance]) -> Result<()> {
        let rows: Vec<Row> = pairs
            .iter()
            .map(|pair| Row::stood(pair.from, pair.to, pair.accepted, pair.since))
            .collect();
        insert::absent(&self.rows, &rows).await
    }
}
