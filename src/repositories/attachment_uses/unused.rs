//! Files that nothing refers to: since when, and how they end.
//!
//! The row of a file says `unused_since` as long as nothing refers to it. Whatever begins or ends a
//! use, and what collects the file, writes that row in its own transaction, and writes it even
//! where nothing else of it changes (`changes` counts up): so any two of them conflict, one runs
//! again, and what it read of uses is never stale. A file is in use or gone, never both.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use serde::Deserialize;

use super::super::bson::id;
use super::super::store::{Tx, all, all_in};
use super::{AttachmentUses, all_of};
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
    pub(in super::super) async fn ready(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
    ) -> Result<BTreeSet<AttachmentId>, DriverError> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(files);
        }
        let rows = self.files.clone_with_type::<Key>();
        let rows = rows.find(usable(&files)).projection(doc! { "_id": 1 });
        let rows = rows.session(tx.session()).await?;
        Ok(all_in(tx.session(), rows).await?.into_iter().map(|row| row.id).collect())
    }

    /// Keeps files from being collected, for a use that begins in this transaction. `false` if one
    /// is not there any more: the transaction must then end.
    pub(in super::super) async fn hold(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
    ) -> Result<bool, DriverError> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(true);
        }
        let held = self.files.update_many(usable(&files), used()).session(tx.session()).await?;
        Ok(held.matched_count == files.len() as u64)
    }

    /// Notes since when nothing refers to files, where that is so, after uses ended in this
    /// transaction.
    pub(in super::super) async fn let_go(
        &self,
        tx: &mut Tx,
        files: impl IntoIterator<Item = AttachmentId>,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        for file in files {
            let change = if self.is_used(tx, file).await? {
                used()
            } else {
                doc! { "$set": { "unused_since": at }, "$inc": { "changes": 1_i64 } }
            };
            let ready = doc! { "_id": file, "state": "ready" };
            self.files.update_one(ready, change).session(tx.session()).await?;
        }
        Ok(())
    }

    /// Whether anything refers to a file.
    async fn is_used(&self, tx: &mut Tx, file: AttachmentId) -> Result<bool, DriverError> {
        let used = self.rows.find_one(doc! { "_id": all_of(file) }).session(tx.session()).await?;
        if used.is_some() {
            return Ok(true);
        }
        let rows = self.files.clone_with_type::<Uploader>();
        let row = rows.find_one(doc! { "_id": file }).projection(doc! { "uploader": 1 });
        let Some(row) = row.session(tx.session()).await? else { return Ok(false) };
        // Only its uploader can show it as theirs.
        let shown = doc! { "_id": row.uploader, "deleted_at": null, "picture.id": file };
        let shown = self.users.find_one(shown).projection(doc! { "_id": 1 });
        Ok(shown.session(tx.session()).await?.is_some())
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
        let this = self.clone();
        let body = async move |tx: &mut Tx| {
            let unused = doc! {
                "_id": file, "state": "ready", "unused_since": { "$lt": before },
            };
            if this.is_used(tx, file).await? {
                this.files.update_one(unused, used()).session(tx.session()).await?;
                return Ok(false);
            }
            let rows = this.files.clone_with_type::<Share>();
            let row = rows.find_one_and_update(unused, ended());
            let row = row.projection(doc! { "uploader": 1, "size": 1 }).session(tx.session());
            let Some(Share { uploader, size }) = row.await? else { return Ok(false) };
            this.storage.change(tx, uploader, -size).await?;
            Ok(true)
        };
        self.store.transact(body).await
    }
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
