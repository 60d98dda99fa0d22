//! Files that nothing refers to: since when, and how they end.
//!
//! The row of a file says `unused_since` as long as nothing refers to it. Whatever begins or ends a
//! use, and what collects the file, writes that row in its own transaction, and writes it even
//! where nothing else of it changes (`changes` counts up): so any two of them conflict, one runs
//! again, and what it read of uses is never stale. A file is in use or gone, never both.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::super::attachments::storage;
use super::super::bson::id;
use super::super::store::{Tx, all};
use super::{AttachmentUses, FILES, USES, all_of};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::Result;

#[derive(Debug, Deserialize)]
struct Key {
    #[serde(rename = "_id", with = "id")]
    id: AttachmentId,
}

/// Whose file it is, and how many bytes it has.
#[derive(Debug, Deserialize)]
struct Share {
    #[serde(with = "id")]
    uploader: UserId,
    size: i64,
}

#[derive(Debug, Deserialize)]
struct Uploader {
    #[serde(with = "id")]
    uploader: UserId,
}

impl AttachmentUses {
    /// Those of some files that can be used: ready, and not about to be collected.
    pub async fn ready(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
    ) -> Result<BTreeSet<AttachmentId>> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(files);
        }
        let rows = tx.table::<Key>(FILES).only::<Key>(doc! { "_id": 1 });
        Ok(rows.all(usable(&files)).await?.into_iter().map(|row| row.id).collect())
    }

    /// Keeps files from being collected, for a use that begins in this transaction. `false` if one
    /// is not there any more: the transaction must then end.
    pub async fn hold(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
    ) -> Result<bool> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(true);
        }
        let held = tx.table::<Key>(FILES).update_all(usable(&files), used()).await?;
        Ok(held == files.len() as u64)
    }

    /// Notes since when nothing refers to files, where that is so, after uses ended in this
    /// transaction.
    pub(in super::super) async fn let_go(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
        at: Timestamp,
    ) -> Result<()> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        for file in files {
            let change = if is_used(tx, file).await? {
                used()
            } else {
                doc! { "$set": { "unused_since": at }, "$inc": { "changes": 1_i64 } }
            };
            let ready = doc! { "_id": file, "state": "ready" };
            tx.table::<Key>(FILES).update(ready, change).await?;
        }
        Ok(())
    }

    /// Files that nothing has referred to since before `before`, the longest unused first; at most
    /// `limit`.
    pub async fn unused(&self, before: Timestamp, limit: i64) -> Result<Vec<AttachmentId>> {
        let unused = doc! { "state": "ready", "unused_since": { "$lt": before } };
        let rows = self.files.clone_with_type::<Key>();
        let keys = rows.find(unused).sort(doc! { "unused_since": 1, "_id": 1 });
        let keys = keys.projection(doc! { "_id": 1 });
        Ok(all(&rows, keys.limit(limit)).await?.into_iter().map(|key| key.id).collect())
    }

    /// Ends a file that nothing has referred to since before `before`: from then on nobody can
    /// read or use it, its uploader stores that much less, and its bytes can be removed. `false`
    /// if it is used after all, or another was first.
    pub async fn retire(&self, file: AttachmentId, before: Timestamp) -> Result<bool> {
        let body = async move |tx: &mut Tx| {
            let unused = doc! {
                "_id": file, "state": "ready", "unused_since": { "$lt": before },
            };
            if is_used(tx, file).await? {
                tx.table::<Key>(FILES).update(unused, used()).await?;
                return Ok(false);
            }
            let row = tx.table::<Share>(FILES).only::<Share>(doc! { "uploader": 1, "size": 1 });
            let Some(Share { uploader, size }) = row.change(unused, ended()).await? else {
                return Ok(false);
            };
            storage::change(tx, uploader, -size).await?;
            Ok(true)
        };
        self.store.transact(body).await
    }
}

/// Whether anything refers to a file.
async fn is_used(tx: &mut Tx, file: AttachmentId) -> Result<bool> {
    let used = tx.table::<Document>(USES).one(doc! { "_id": all_of(file) }).await?;
    if used.is_some() {
        return Ok(true);
    }
    let row = tx.table::<Uploader>(FILES).only::<Uploader>(doc! { "uploader": 1 });
    let Some(row) = row.one(doc! { "_id": file }).await? else { return Ok(false) };
    // Only its uploader can show it as theirs.
    tx.users().shows(row.uploader, file).await
}

fn usable(files: &BTreeSet<AttachmentId>) -> Document {
    let files: Vec<AttachmentId> = files.iter().copied().collect();
    doc! { "_id": { "$in": files }, "state": "ready" }
}

fn used() -> Document {
    doc! { "$unset": { "unused_since": "" }, "$inc": { "changes": 1_i64 } }
}

fn ended() -> Document {
    doc! {
        "$set": { "state": "deleting" },
        "$unset": { "unused_since": "" },
        "$inc": { "changes": 1_i64 },
    }
}
