//! How files end: uploads that nobody waits for, and files that nothing refers to.

use std::time::Duration;

use super::Attachments;
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::Result;

/// How old an upload is that nobody can be waiting for any more.
const ABANDONED: Duration = Duration::from_hours(1);

/// How long a file stays that nothing refers to, from when it was uploaded or its last use ended.
const UNUSED: Duration = Duration::from_hours(24);

/// Files that are collected in one go.
const COLLECTED: i64 = 100;

impl Attachments {
    /// Removes what uploads that never ended have left behind: those of an instance that crashed,
    /// or that could not reach the store. Says how many they were.
    pub async fn collect_abandoned(&self) -> Result<usize> {
        let before = self.stores.clock.now().minus(ABANDONED);
        let mut collected = 0;
        loop {
            let abandoned = self.stores.rows.abandoned(before, COLLECTED).await?;
            for id in &abandoned {
                self.stores.files.remove(*id).await?;
                self.stores.rows.forget(*id).await?;
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
        let mut collected = self.finish_ended().await?;
        loop {
            let unused = self.uses.unused(before, COLLECTED).await?;
            for id in &unused {
                if self.uses.retire(*id, before).await? {
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
                let turn = self.stores.rows.turn(uploader).await;
                // Unused since a moment that is not after now.
                let soon = self.stores.clock.now().plus(Duration::from_millis(1));
                let is_retired = self.uses.retire(*id, soon).await?;
                drop(turn);
                if is_retired { self.remove(*id).await } else { Ok(()) }
            };
            if let Err(error) = outcome.await {
                tracing::debug!(event = "upload_discard_failed", %id, %error, "collected later");
            }
        }
    }

    async fn finish_ended(&self) -> Result<usize> {
        let mut finished = 0;
        loop {
            let ended = self.stores.rows.ended(COLLECTED).await?;
            for id in &ended {
                self.remove(*id).await?;
            }
            finished += ended.len();
            if ended.is_empty() {
                return Ok(finished);
            }
        }
    }

    /// Removes the bytes, then the row: so a crash between leaves the row to go on from.
    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.stores.files.remove(id).await?;
        self.stores.rows.erase(id).await
    }
}
