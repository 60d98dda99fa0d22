//! The message writer: drafts in, an answer to each out, in one majority transaction for many.
//!
//! All that belongs to a message is written with it or not at all: the message under the next
//! number of its conversation, its idempotency key, its row among its sender's own messages, the
//! uses of its files, the marker for search, the conversation's summary, the marks of its members
//! and the notifications of those whom it mentions. Two writers on one conversation meet at its
//! summary: the later one conflicts, and runs again on the new state.

mod batch;
mod plan;
mod settle;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::batch::{Part, Tries};
pub(in crate::services) use self::plan::{Plan, Snapshot};
use super::known_keys::KnownKeys;
use crate::domain::ids::ConversationId;
use crate::domain::messages::{Draft, IdempotencyKey, Sent};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::store::Repositories;
use crate::store::messages::Messages;
use crate::store::rows::attachment_uses::Use;
use crate::store::{DEADLINE, Store, Tx, retry_transaction};

/// Writes messages.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// Over connections that readers do not use.
    store: Store,
    messages: Messages,
}

impl Writer {
    pub fn new(repositories: &Repositories) -> Self {
        let store = repositories.writers.clone();
        let messages = repositories.messages.over(&store);
        Self { store, messages }
    }

    /// Writes drafts, each whole or not at all, and says of each, by its place among them, what
    /// came of it, as soon as that is known. Numbers follow the order of the drafts.
    ///
    /// A conversation that the open transaction of an instance that is gone still holds must not
    /// keep the rest of the batch waiting, nor a defect in one draft fail the others: the writer
    /// halves a batch that it cannot write whole, down to a single conversation or draft.
    pub async fn write(&self, drafts: Vec<Draft>, mut answer: impl FnMut(usize, Result<Sent>)) {
        let (deadline, batch) = (Instant::now() + DEADLINE, drafts.len());
        let mut parts = vec![Part::whole(drafts)];
        while let Some(part) = parts.pop() {
            if Instant::now() >= deadline {
                part.answer(Err(Error::unavailable()), &mut answer);
                continue;
            }
            let tries = Tries::of(&part, batch);
            let (outcome, halves) = match self.write_together(&part, tries).await {
                Ok(None) => (Err(held()), part.by_conversation()),
                Err(error) if error.kind() == Kind::Internal => (Err(error), part.in_half()),
                Ok(Some(outcomes)) => (Ok(outcomes), None),
                Err(error) => (Err(error), None),
            };
            match halves {
                Some((first, second)) => parts.extend([second, first]),
                None => part.answer(outcome, &mut answer),
            }
        }
    }

    /// Writes all drafts in one transaction; `None` when the tries are used up: nothing is written
    /// then.
    async fn write_together(
        &self,
        part: &Part,
        mut tries: Tries,
    ) -> Result<Option<Vec<Result<Sent>>>> {
        let assigned = Arc::new(Mutex::new(Vec::new()));
        // The transaction's future must own what it uses: borrowed, it is not provably `Send`.
        let (this, batch, numbers) = (self.clone(), part.drafts.clone(), assigned.clone());
        let written = self.store.transact_or_give_up(async move |tx| {
            let mut plan = Plan::of(&batch, this.read(tx, &batch).await?);
            tries.count(plan.last_seq())?;
            let answers = std::mem::take(&mut plan.answers);
            numbers.lock().clone_from(&answers);
            this.apply(tx, plan).await?;
            Ok(answers)
        });
        let written = written.await;
        let answered = failpoint::lose("batch.written");
        match answered.map_err(|lost| Error::unavailable().with_source(lost)).and(written) {
            Err(error) if error.kind() == Kind::Unavailable => {
                let assigned = std::mem::take(&mut *assigned.lock());
                self.settle(&part.drafts, assigned, error).await.map(Some)
            }
            outcome => outcome,
        }
    }

    /// Reads the state that the drafts meet.
    async fn read(&self, tx: &mut Tx, drafts: &[Draft]) -> Result<Snapshot> {
        let keys: Vec<IdempotencyKey> = drafts.iter().filter_map(Draft::idempotency_key).collect();
        let keys = KnownKeys(tx.message_keys().find(&keys).await?);
        failpoint::reach("plan.keys");
        let conversations: BTreeSet<ConversationId> =
            drafts.iter().map(Draft::conversation).collect();
        let conversations: Vec<ConversationId> = conversations.into_iter().collect();
        let conversations = tx.conversations().many(&conversations).await?;
        failpoint::reach("plan.summaries");
        let senders = drafts.iter().map(|draft| (draft.conversation(), draft.sender));
        let sent_counts = tx.members().sent_counts(senders).await?;
        failpoint::reach("plan.totals");
        let files = tx.attachments().ready(drafts.iter().flat_map(Draft::files)).await?;
        failpoint::reach("plan.files");
        let conversations = conversations.into_iter().map(|summary| (summary.id, summary));
        Ok(Snapshot { keys, conversations: conversations.collect(), sent_counts, files })
    }

    /// Writes the messages of a plan and all that belongs to them.
    async fn apply(&self, tx: &mut Tx, plan: Plan) -> Result<()> {
        if plan.messages.is_empty() {
            return Ok(());
        }
        tx.conversations().note_sent(plan.conversations.values()).await?;
        tx.members().note_sent(&plan.member_updates()).await?;
        failpoint::reach("apply.members");
        self.messages.insert(tx, &plan.messages).await?;
        failpoint::reach("apply.messages");
        let messages = plan.messages.iter().map(|numbered| &numbered.message);
        tx.unindexed().add(messages.clone().map(|message| (message.id, message.at))).await?;
        failpoint::reach("apply.unindexed");
        tx.sends().add(&plan.messages).await?;
        failpoint::reach("apply.sends");
        if !plan.keys.is_empty() {
            tx.message_keys().put(&plan.keys).await?;
            failpoint::reach("apply.keys");
        }
        let files = messages.flat_map(|it| it.attachments.iter().map(|file| (file.id, it.id)));
        let files: Vec<_> = files.collect();
        if !files.is_empty() {
            if !tx.attachments().hold(files.iter().map(|(file, _)| *file)).await? {
                return Err(retry_transaction());
            }
            failpoint::reach("apply.held");
            let uses = files.into_iter().map(|(file, message)| Use::message(file, message));
            tx.attachment_uses().insert(uses).await?;
            failpoint::reach("apply.uses");
        }
        tx.notifications().raise_first(&plan.mentioned).await?;
        failpoint::reach("apply.told");
        Ok(())
    }
}

fn held() -> Error {
    Error::unavailable().with_source("another transaction holds this conversation")
}
