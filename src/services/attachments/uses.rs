//! Uses of files by messages and groups.

use std::collections::BTreeSet;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, ConversationId};
use crate::error::Result;
use crate::repositories::rows::attachment_uses::Use;
use crate::repositories::store::{Store, Tx};
use crate::repositories::unused_files::let_go;

/// Ends uses in this transaction; those that are not there are none. `at` is when they ended.
pub(in super::super) async fn remove(
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
