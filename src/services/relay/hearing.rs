//! What the relay hears of the store.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::events::Position;
use crate::error::Result;
use crate::repositories::events::stream::{EventStream, SequencedEvent};

/// How often it is written down that nothing has happened.
const NOTE_NOTHING: Duration = Duration::from_secs(5);

/// What the stream has said.
pub(super) enum Heard {
    Event(Box<SequencedEvent>),
    /// Nothing else has happened before this.
    Nothing(Position),
}

/// Reads the stream ahead of what is being written.
pub(super) async fn listen(mut stream: EventStream, heard: mpsc::Sender<Heard>) -> Result<()> {
    let mut noted = Instant::now();
    loop {
        let next = if let Some(sequenced) = stream.next().await? {
            Heard::Event(Box::new(sequenced))
        } else {
            if noted.elapsed() < NOTE_NOTHING {
                continue;
            }
            let Some(position) = stream.passed() else { continue };
            noted = Instant::now();
            Heard::Nothing(position)
        };
        if heard.send(next).await.is_err() {
            return Ok(());
        }
    }
}
