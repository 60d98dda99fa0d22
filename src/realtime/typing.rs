//! Typing: from one client's frame to the devices of those who may see it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Typing as Told};
use crate::domain::clock::Clock;
use crate::domain::events::FrameKind;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::services::frames::{data, frame};
use crate::services::typing::Typing;

/// How long after one frame the next of the same user and conversation is told: soon enough after
/// a message, which ends what the one before said.
const NOT_BEFORE: Duration = Duration::from_secs(1);

/// How long telling it may take: later it says nothing.
const SOON: Duration = Duration::from_secs(2);

/// How many may wait; those that come then are dropped.
const WAITING: usize = 256;

/// How many are seen to at once.
const AT_ONCE: usize = 8;

/// Tells of people who are typing.
pub(super) struct Typists {
    teller: Teller,
    queue: mpsc::Sender<(UserId, ConversationId)>,
    waiting: Mutex<Option<mpsc::Receiver<(UserId, ConversationId)>>>,
}

#[derive(Clone)]
struct Teller {
    typing: Arc<Typing>,
    bus: Bus,
    clock: Clock,
}

impl fmt::Debug for Typists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typists")
    }
}

impl Typists {
    /// Nobody is typing yet.
    pub fn new(typing: Typing, bus: &Bus, clock: &Clock) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let teller = Teller { typing: Arc::new(typing), bus: bus.clone(), clock: clock.clone() };
        Self { teller, queue, waiting: Mutex::new(Some(waiting)) }
    }

    /// A client says that its user is typing. Nobody waits for it to be told.
    pub fn types(&self, user: UserId, conversation: ConversationId) {
        let _ = self.queue.try_send((user, conversation));
    }

    /// Tells, until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waiting) = waiting else { return };
        let waiting = stream::unfold(waiting, |mut waiting| async move {
            waiting.recv().await.map(|typist| (typist, waiting))
        });
        let teller = self.teller.clone();
        let telling = waiting.for_each_concurrent(AT_ONCE, move |(user, conversation)| {
            let teller = teller.clone();
            async move {
                // What fails, or takes too long, the next frame says again.
                let _ = timeout(SOON, teller.tell(user, conversation)).await;
            }
        });
        tokio::select! {
            () = telling => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Teller {
    async fn tell(&self, user: UserId, conversation: ConversationId) -> Result<()> {
        if !self.bus.may_type(user, conversation, NOT_BEFORE).await? {
            return Ok(());
        }
        // Decided as late as may be, by the store: whoever is out by now tells nobody, and is told
        // nothing.
        let audience = self.typing.audience(user, conversation).await?;
        let data = data::Typing { conversation_id: conversation, user_id: user };
        let frame = frame(FrameKind::Typing, None, self.clock.now(), &data)?;
        self.bus.tell_typing(&Told { conversation, user, frame }, &audience).await
    }
}
