//! How files end: uploads that nobody waits for, and files that nothing refers to.

use std::time::Duration;

use super::Attachments;
use super::uses::is_used;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::Result;
use crate::services::storage_quota;
use crate::store::Tx;

/// How old an upload is that nobody can be waiting for any more.
const ABANDONED: Duration = Duration::from_hours(1);

/// How long a file stays that nothing refers to, from when it was uploaded or its last use ended.
const UNUSED: Duration = Duration::from_hours(24);

/// Files that are collected in one go.
const COLLECTED: usize = 100;

impl Attachments {
    /// Removes what uploads that never ended have left behind: those of an instance that crashed,
    /// or that could not reach the store. Says how many they were.
    pub async fn collect_abandoned(&self) -> Result<usize> {
        let before = self.stores.clock.now().minus(ABANDONED);
        let mut collected = 0;
        loop {
            let abandoned = self.stores.store.attachments().abandoned(before, COLLECTED).await?;
            for id in &abandoned {
                self.stores.files.remove(*id).await?;
                self.stores.store.attachments().forget(*id).await?;
            }
            collected += abandoned.len();
            if abandoned.is_empty() {
                return Ok(collected);
            }
        }
    }

    /// Removes files that nothing has referred to for 24 hours, and first what a round before
    /// this one did not finish. Any number of instances may do so at once. Says how many they were.
    ///
    /// # Errors
    /// When the store is away; the next round goes on from there.
    pub async fn collect_unused(&self) -> Result<usize> {
        let before = self.stores.clock.now().minus(UNUSED);
        let mut collected = self.finish_retired().await?;
        loop {
            let unused = self.stores.store.attachments().unused(before, COLLECTED).await?;
            for id in &unused {
                if self.retire(*id, before).await? {
                    self.remove(*id).await?;
                    collected += 1;
                }
            }
            if unused.is_empty() {
                return Ok(collected);
            }
        }
    }

    /// Removes files at once that their uploader has just stored and nothing refers to. What cannot
    /// be removed now is collected later.
    pub(in super::super) async fn discard(&self, uploader: UserId, files: &[AttachmentId]) {
        for id in files {
            let outcome = async {
                let turn = self.stores.locks.lock(uploader.bytes()).await;
                // Unused since a moment that is not after now.
                let soon = self.stores.clock.now().plus(Duration::from_millis(1));
                let is_retired = self.retire(*id, soon).await?;
                drop(turn);
                if is_retired { self.remove(*id).await } else { Ok(()) }
            };
            if let Err(error) = outcome.await {
                tracing::debug!(event = "upload_discard_failed", %id, %error, "collected later");
            }
        }
    }

    /// Ends a file that nothing has referred to since before `before`: from then on nobody can
    /// read or use it, its uploader stores that much less, and its bytes can be removed. `false`
    /// if it is used after all, or another was first.
    async fn retire(&self, file: AttachmentId, before: Timestamp) -> Result<bool> {
        self.stores
            .store
            .transact(async move |tx: &mut Tx| {
                if is_used(tx, file).await? {
                    tx.attachments().correct_unused(file, before).await?;
                    return Ok(false);
                }
                let retired = tx.attachments().retire(file, before).await?;
                let Some(retired) = retired else { return Ok(false) };
                storage_quota::release(tx, retired.uploader, retired.size).await?;
                Ok(true)
            })
            .await
    }

    async fn finish_retired(&self) -> Result<usize> {
        let mut finished = 0;
        loop {
            let retired = self.stores.store.attachments().retired(COLLECTED).await?;
            for id in &retired {
                self.remove(*id).await?;
            }
            finished += retired.len();
            if retired.is_empty() {
                return Ok(finished);
            }
        }
    }

    /// Removes the bytes, then the row: so a crash between leaves the row to go on from.
    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.stores.files.remove(id).await?;
        self.stores.store.attachments().erase(id).await
    }
}
