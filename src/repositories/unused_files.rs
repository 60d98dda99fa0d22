//! The uses of a file are in three collections. This keeps the file's own row in step with them,
//! which says since when nothing refers to the file (`rows/attachments.rs`).

use std::collections::BTreeSet;

use super::store::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::ids::AttachmentId;
use crate::error::Result;

/// Notes since when nothing refers to files, where that is so, after uses ended in this
/// transaction.
pub async fn let_go(
    tx: &mut Tx,
    files: impl IntoIterator<Item = AttachmentId>,
    at: Timestamp,
) -> Result<()> {
    let files: BTreeSet<AttachmentId> = files.into_iter().collect();
    for file in files {
        let unused_since = if is_used(tx, file).await? { None } else { Some(at) };
        tx.attachments().set_unused_since(file, unused_since).await?;
    }
    Ok(())
}

/// Whether anything refers to a file: a message, a group, or its uploader's profile.
pub async fn is_used(tx: &mut Tx, file: AttachmentId) -> Result<bool> {
    if tx.attachment_uses().any_of(file).await? {
        return Ok(true);
    }
    // Only its uploader can show it as theirs.
    match tx.attachments().uploader(file).await? {
        Some(uploader) => tx.users().shows(uploader, file).await,
        None => Ok(false),
    }
}
