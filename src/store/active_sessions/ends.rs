//! The ends of sessions, as they happen, on whatever instance.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;

use super::ActiveSessions;
use crate::domain::ids::SessionId;
use crate::error::{Error, Result};
use crate::store::bson::StoredId;
use crate::store::{Store, within};

/// How long the server holds an answer back that would say that nothing has ended.
const MAX_AWAIT: Duration = Duration::from_millis(250);

impl ActiveSessions {
    /// Follows the ends of sessions, on whatever instance, from now on.
    pub async fn watch(&self) -> Result<Ends> {
        // Dropped collections and the like end the stream.
        let ends =
            doc! { "$match": { "operationType": { "$nin": ["insert", "update", "replace"] } } };
        let rows = self.rows.clone_with_type::<Document>();
        let stream = rows.watch().pipeline([ends]).max_await_time(MAX_AWAIT);
        let background = self.store.for_background();
        Ok(Ends { stream: within(&background, stream).await?, background })
    }
}

/// The stream of ended sessions.
#[derive(derive_more::Debug)]
#[debug("Ends")]
pub struct Ends {
    stream: ChangeStream<ChangeStreamEvent<Document>>,
    background: Store,
}

impl Ends {
    /// The next session that has ended; `None` after a quarter of a second without one, and then
    /// every end that was acknowledged before this call has been told.
    ///
    /// # Errors
    /// When the stream has ended, or the store is away: what was told no longer holds.
    pub async fn next(&mut self) -> Result<Option<SessionId>> {
        let Some(event) = within(&self.background, self.stream.next_if_any()).await? else {
            return if self.stream.is_alive() { Ok(None) } else { Err(Error::unavailable()) };
        };
        let key = event.document_key.ok_or_else(Error::unavailable)?;
        let id = key.get_binary_generic("_id").map_err(Error::internal)?;
        let id = SessionId::from_stored(id);
        id.map(Some).ok_or_else(|| Error::internal("a session with another kind of key"))
    }
}
