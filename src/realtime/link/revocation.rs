//! Revocations: the hub withholds events, then the link confirms this to the waiting request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::Link;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::realtime::socket::Socket;

/// How long connections may take to send the frames that they have taken.
const SEND_TIMEOUT: Duration = Duration::from_millis(250);

impl Link {
    /// A user lost access to a conversation.
    pub async fn revoke_conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
        token: Arc<str>,
    ) {
        let revoked = async {
            // In this order: a user who is added again after this moment receives all later events.
            let now = self.events.now().await?;
            let is_in = self.frames.is_in(user, conversation).await?;
            Ok(if is_in { Vec::new() } else { self.hub.revoke(user, conversation, now) })
        };
        let revoked = revoked.await;
        self.confirm(user, revoked, token);
    }

    /// One of the two users blocked the other.
    pub async fn revoke_pair(&self, user: UserId, other: UserId, token: Arc<str>) {
        let revoked = async {
            let now = self.events.now().await?;
            let apart = self.frames.are_apart(user, other).await?;
            Ok(if apart { self.hub.revoke_pair(user, other, now) } else { Vec::new() })
        };
        let revoked = revoked.await;
        self.confirm(user, revoked, token);
    }

    /// Confirms a revocation once these connections have sent the frames that they had taken.
    pub fn confirm(&self, user: UserId, revoked: Result<Vec<Arc<Socket>>>, token: Arc<str>) {
        let Ok(sockets) = revoked else {
            // The rights of the user are unknown; after a reconnect the log is filtered by them.
            return self.hub.send_away(user);
        };
        let bus = self.bus.clone();
        tokio::spawn(async move {
            let sent = join_all(sockets.iter().map(|socket| socket.sent()));
            let _ = timeout(SEND_TIMEOUT, sent).await;
            // The request waits for a limited time.
            let _ = bus.confirm(&token).await;
        });
    }

    /// Delivers an event, unless a block stops it that is newer than the message.
    pub async fn tell(&self, user: UserId, position: Position, envelope: &Envelope) {
        let hand_out = || self.hand_out(user, position, envelope);
        let Some(other) = self.hub.recent_block(user, envelope) else { return hand_out() };
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
