//! Typing indicators: from the frame of a client to the connections of the other members.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Typing as TypingMessage};
use crate::domain::clock::Clock;
use crate::domain::events::FrameKind;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::services::frames::{data, frame};
use crate::services::typing::Typing;

/// The interval between two indicators of a user in a conversation: short, because a message ends the
/// indicator before it.
const TYPING_INTERVAL: Duration = Duration::from_secs(1);

/// The time limit to publish an indicator; a later one has no meaning.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Indicators in the queue; further ones are dropped.
const MAX_QUEUED: usize = 256;

/// Indicators that are published at the same time.
const CONCURRENCY: usize = 8;

/// Publishes typing indicators.
#[derive(derive_more::Debug)]
#[debug("TypingPublisher")]
pub(super) struct TypingPublisher {
    publisher: Publisher,
    queue: mpsc::Sender<(UserId, ConversationId)>,
    waiting: Mutex<Option<mpsc::Receiver<(UserId, ConversationId)>>>,
}

#[derive(Clone)]
struct Publisher {
    typing: Arc<Typing>,
    bus: Bus,
    clock: Clock,
}

impl TypingPublisher {
    /// A publisher with an empty queue.
    pub fn new(typing: Typing, bus: &Bus, clock: &Clock) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        let publisher =
            Publisher { typing: Arc::new(typing), bus: bus.clone(), clock: clock.clone() };
        Self { publisher, queue, waiting: Mutex::new(Some(waiting)) }
    }

    /// Queues an indicator; the client does not wait for it.
    pub fn types(&self, user: UserId, conversation: ConversationId) {
        let _ = self.queue.try_send((user, conversation));
    }

    /// Publishes until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let waiting = self.waiting.lock().take();
        let Some(waiting) = waiting else { return };
        let waiting = stream::unfold(waiting, |mut waiting| async move {
            waiting.recv().await.map(|typist| (typist, waiting))
        });
        let publisher = self.publisher.clone();
        let telling = waiting.for_each_concurrent(CONCURRENCY, move |(user, conversation)| {
            let publisher = publisher.clone();
            async move {
                // After a failure the next frame of the client repeats the indicator.
                let _ = timeout(PUBLISH_TIMEOUT, publisher.tell(user, conversation)).await;
            }
        });
        tokio::select! {
            () = telling => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Publisher {
    async fn tell(&self, user: UserId, conversation: ConversationId) -> Result<()> {
        if !self.bus.may_type(user, conversation, TYPING_INTERVAL).await? {
            return Ok(());
        }
        // Decided as late as may be, by the store: whoever is out by now tells nobody, and is told
        // nothing.
        let audience = self.typing.audience(user, conversation).await?;
        let data = data::Typing { conversation_id: conversation, user_id: user };
        let frame = frame(FrameKind::Typing, None, self.clock.now(), &data)?;
        self.bus.tell_typing(&TypingMessage { conversation, user, frame }, &audience).await
    }
}
