//! The message writer: many drafts in, an answer for each out, one majority transaction.
//!
//! What belongs to a message is written with it or not at all: the message under the next number
//! of its conversation, its exactly-once key, its row among its sender's own messages, the uses of
//! its files, that search is to take it up, the conversation's summary and the marks of its
//! members. Two writers on one conversation meet at its summary: the later one conflicts, and runs
//! again on what is there now.

mod batch;
mod plan;
mod settle;
mod talk;
mod updates;

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Bson, doc};
use mongodb::error::Error as DriverError;
use parking_lot::Mutex;

use self::batch::{Part, Tries};
use self::plan::{KeyRow, KeysOf, Plan, member, same};
pub(super) use self::talk::TalkRows;
use self::updates::{key_update, member_updates, summary_updates};
use super::bson::binary;
use super::messages::Messages;
use super::store::{Collection, Store, Tx, again, again_if_taken, all, all_in};
use crate::domain::ids::MessageId;
use crate::domain::messages::{Draft, Sent};
use crate::error::{Kind as ErrorKind, Result};
use crate::failpoint;

/// Writes messages.
#[derive(Debug, Clone)]
pub struct Writer {
    store: Store,
    messages: Messages,
    keys: Collection<KeyRow>,
}

impl Writer {
    /// A writer into these shards.
    #[must_use]
    pub fn new(store: &Store, messages: Messages) -> Self {
        Self { store: store.clone(), messages, keys: store.collection("message_keys") }
    }

    /// What a sender's name for a message has led to, if it was used.
    ///
    /// # Errors
    /// `idempotency_key_reused` when it was about something else; or the store is away.
    pub async fn sent_before(&self, draft: &Draft) -> Result<Option<MessageId>> {
        let Some(keys) = KeysOf::draft(draft) else { return Ok(None) };
        let either = vec![binary(keys.key.as_slice()), binary(keys.former.as_slice())];
        let rows = all(&self.keys, self.keys.find(doc! { "_id": { "$in": either } })).await?;
        let used = keys.used(draft, |key| rows.iter().find(|row| row.key.bytes == key));
        used.map(|row| same(row, draft)).transpose()
    }

    /// All drafts in one transaction; `None` when the tries are used up: nothing is written then.
    async fn write_together(
        &self,
        part: &Part,
        mut tries: Tries,
    ) -> Result<Option<Vec<Result<Sent>>>> {
        let assigned = Arc::new(Mutex::new(Vec::new()));
        // The transaction's future must own what it uses: borrowed, it is not provably `Send`.
        let (this, batch, numbers) = (self.clone(), part.drafts.clone(), assigned.clone());
        let written = self.store.transact_or_give_up(async move |tx| {
            let mut plan = this.plan(tx, &batch).await?;
            tries.count(&plan)?;
            let answers = std::mem::take(&mut plan.answers);
            numbers.lock().clone_from(&answers);
            this.apply(tx, plan).await?;
            Ok(answers)
        });
        match written.await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let assigned = std::mem::take(&mut *assigned.lock());
                self.settle(&part.drafts, assigned, error).await.map(Some)
            }
            outcome => outcome,
        }
    }

    /// Reads what the drafts meet, and decides on each in turn.
    async fn plan(&self, tx: &mut Tx, drafts: &[Draft]) -> Result<Plan> {
        let mut known = self.known_keys(tx, drafts).await?;
        failpoint::reach("plan.keys");
        let conversations = tx.conversations().rows(drafts.iter().map(Draft::conversation)).await?;
        let mut plan = Plan { conversations, ..Plan::default() };
        failpoint::reach("plan.summaries");
        let totals = tx.members().sent_counts(drafts.iter().map(member)).await?;
        failpoint::reach("plan.totals");
        plan.files = tx.attachments().ready(drafts.iter().flat_map(Draft::files)).await?;
        failpoint::reach("plan.files");
        for draft in drafts {
            let answer = plan.decide(draft, &mut known, &totals);
            plan.answers.push(answer);
        }
        let Plan { conversations, sent_counts, .. } = &mut plan;
        conversations.retain(|id, _| sent_counts.keys().any(|(touched, _)| touched == id));
        Ok(plan)
    }

    async fn known_keys(&self, tx: &mut Tx, drafts: &[Draft]) -> Result<HashMap<Vec<u8>, KeyRow>> {
        let keys = drafts.iter().filter_map(KeysOf::draft);
        let keys: Vec<Bson> = keys.flat_map(|it| [it.key, it.former]).map(binary).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.keys.find(doc! { "_id": { "$in": keys } }).session(tx.session()).await?;
        let rows = all_in(tx.session(), found).await?;
        Ok(rows.into_iter().map(|row| (row.key.bytes.clone(), row)).collect())
    }

    async fn apply(&self, tx: &mut Tx, plan: Plan) -> Result<()> {
        if plan.messages.is_empty() {
            return Ok(());
        }
        tx.conversations().update_each(summary_updates(&plan)).await?;
        failpoint::lose("apply.conversations").map_err(DriverError::from)?;
        tx.members().update_each(member_updates(&plan)).await?;
        failpoint::reach("apply.members");
        for (shard, messages) in self.messages.by_shard(&plan.messages) {
            shard.insert_many(messages).session(tx.session()).await.map_err(again_if_taken)?;
        }
        failpoint::reach("apply.messages");
        let unindexed = plan.messages.iter().map(|message| (message.id, message.at));
        tx.unindexed().add(unindexed).await.map_err(again_if_taken)?;
        failpoint::reach("apply.unindexed");
        tx.sends().add(plan.sends).await.map_err(again_if_taken)?;
        failpoint::reach("apply.sends");
        if !plan.keys.is_empty() {
            let updates = plan.keys.iter().map(key_update).collect::<Result<Vec<_>>>()?;
            tx.table::<KeyRow>("message_keys").update_each(updates).await?;
            failpoint::reach("apply.keys");
        }
        if !plan.uses.is_empty() {
            let files = plan.messages.iter().flat_map(|message| &message.attachments);
            if !tx.attachments().hold(files.map(|file| file.id)).await? {
                return Err(again());
            }
            failpoint::reach("apply.held");
            tx.attachment_uses().insert(plan.uses).await.map_err(again_if_taken)?;
            failpoint::reach("apply.uses");
        }
        tx.notifications().raise_first(&plan.told).await.map_err(again_if_taken)?;
        failpoint::reach("apply.told");
        Ok(())
    }
}
