//! Uses of files by messages, groups and profiles. They are in three collections; the row of a file
//! says since when nothing refers to it (`rows/attachments.rs`).

use std::collections::BTreeSet;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, ConversationId};
use crate::error::Result;
use crate::store::rows::attachment_uses::Use;
use crate::store::{Store, Tx};

/// Ends uses in this transaction; those that are not there are none. `at` is when they ended.
pub(in crate::services) async fn remove(
    tx: &mut Tx,
    uses: impl IntoIterator<Item = Use>,
    at: Timestamp,
) -> Result<()> {
    let uses: BTreeSet<Use> = uses.into_iter().collect();
    if tx.attachment_uses().delete(&uses).await? > 0 {
        let_go(tx, uses.iter().map(|it| it.attachment), at).await?;
    }
    Ok(())
}

/// The conversations that a file is used in, each once however often it was sent there: in the
/// order of their ids, after `after` (`None`: from the first on), at most `limit`.
pub(super) async fn conversations_of(
    store: &Store,
    file: AttachmentId,
    mut after: Option<ConversationId>,
    limit: usize,
) -> Result<Vec<ConversationId>> {
    let mut found = Vec::new();
    while found.len() < limit {
        // From one conversation to the next by key: the uses between are not read.
        let next = store.attachment_uses().next_conversation(file, after).await?;
        let Some(next) = next else { break };
        found.push(next);
        after = Some(next);
    }
    Ok(found)
}

/// Notes since when nothing refers to files, where that is so, after uses ended in this
/// transaction.
pub(in crate::services) async fn let_go(
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
pub(super) async fn is_used(tx: &mut Tx, file: AttachmentId) -> Result<bool> {
    if tx.attachment_uses().any_of(file).await? {
        return Ok(true);
    }
    // Only its uploader can show it as theirs.
    match tx.attachments().uploader(file).await? {
        Some(uploader) => tx.users().has_picture(uploader, file).await,
        None => Ok(false),
    }
}
