//! What a user is to see no more: held back here, and confirmed to whoever waits for that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::Link;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::realtime::socket::Socket;

/// How long connections have to send what they have taken: one that reads needs no time.
const SENT_WITHIN: Duration = Duration::from_millis(250);

impl Link {
    /// A user is out of a conversation.
    pub async fn left(&self, user: UserId, conversation: ConversationId, token: Arc<str>) {
        let barred = async {
            // In this order: who is added again after this moment is told so, and all that follows.
            let now = self.events.now().await?;
            let is_in = self.frames.is_in(user, conversation).await?;
            Ok(if is_in { Vec::new() } else { self.hub.bar(user, conversation, now) })
        };
        let barred = barred.await;
        self.confirm(user, barred, token);
    }

    /// One of two has blocked the other.
    pub async fn parted(&self, user: UserId, other: UserId, token: Arc<str>) {
        let barred = async {
            let now = self.events.now().await?;
            let apart = self.frames.are_apart(user, other).await?;
            Ok(if apart { self.hub.part_from(user, other, now) } else { Vec::new() })
        };
        let barred = barred.await;
        self.confirm(user, barred, token);
    }

    /// Confirms once what these connections have taken is sent.
    pub fn confirm(&self, user: UserId, barred: Result<Vec<Arc<Socket>>>, token: Arc<str>) {
        let Ok(sockets) = barred else {
            // What may be seen is not known: whoever comes back is shown that and no more.
            return self.hub.send_away(user);
        };
        let bus = self.bus.clone();
        tokio::spawn(async move {
            let sent = join_all(sockets.iter().map(|socket| socket.sent()));
            let _ = timeout(SENT_WITHIN, sent).await;
            // Whoever waits for it does so only for a while.
            let _ = bus.confirm(&token).await;
        });
    }

    /// Hands an event out, but what was let through just before a block.
    pub async fn tell(&self, user: UserId, position: Position, envelope: &Envelope) {
        let hand_out = || self.hand_out(user, position, envelope);
        let Some(other) = self.hub.parted_from(user, envelope) else { return hand_out() };
        match self.frames.are_apart(user, other).await {
            Ok(false) => hand_out(),
            Ok(true) => self.hub.complete(user, position, Some(position)),
            Err(_) => {
                self.hub.send_away(user);
                self.hub.complete(user, position, Some(position));
            }
        }
    }
}
