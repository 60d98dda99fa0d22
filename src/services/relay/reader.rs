//! Reads the change stream ahead of the relay.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::events::Position;
use crate::error::Result;
use crate::store::events::stream::{EventStream, SequencedEvent};

/// How often the relay notes its position while there are no events.
const IDLE_POSITION_INTERVAL: Duration = Duration::from_secs(5);

/// An item of the change stream.
pub(super) enum StreamItem {
    Event(Box<SequencedEvent>),
    /// No further events before this position.
    Idle(Position),
}

/// Reads the stream while the relay writes the items before.
pub(super) async fn read_stream(
    mut stream: EventStream,
    items: mpsc::Sender<StreamItem>,
) -> Result<()> {
    let mut noted = Instant::now();
    loop {
        let next = if let Some(sequenced) = stream.next().await? {
            StreamItem::Event(Box::new(sequenced))
        } else {
            if noted.elapsed() < IDLE_POSITION_INTERVAL {
                continue;
            }
            let Some(position) = stream.passed() else { continue };
            noted = Instant::now();
            StreamItem::Idle(position)
        };
        if items.send(next).await.is_err() {
            return Ok(());
        }
    }
}
