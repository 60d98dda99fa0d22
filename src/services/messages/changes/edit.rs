//! Another text for a message.

use super::{Changes, announce, revise};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Kind;
use crate::domain::events::Event;
use crate::domain::ids::{MessageId, UserId};
use crate::domain::messages::{Changed, StoredMessage};
use crate::domain::notifications::{Notification, NotificationId};
use crate::error::{Error, Result};
use crate::store::Tx;

/// Another text for a message.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The message.
    pub message: MessageId,
    /// The text.
    pub text: String,
    /// The members whom the text mentions.
    pub mentions: Vec<UserId>,
    /// Those of them who are notified, unless they were mentioned before.
    pub told: Vec<UserId>,
    /// The kind of its conversation.
    pub kind: Kind,
    /// The time of the edit.
    pub at: Timestamp,
}

impl Changes {
    /// Gives a message another text; the same text changes nothing.
    ///
    /// # Errors
    /// `not_found`; `message_deleted`.
    pub async fn edit(&self, edit: &Edit) -> Result<Changed> {
        let Edit { message, at, .. } = *edit;
        let (this, edit) = (self.clone(), edit.clone());
        self.transact(message.conversation, async move |tx: &mut Tx| {
            let before = this.standing(tx, message).await?;
            if before.text == edit.text {
                return Ok(Changed { message: before, changed: false });
            }
            let after = this.messages.edit(tx, message, &edit.text, &edit.mentions, at).await?;
            revise(tx, message.conversation).await?;
            tx.unindexed().add([(message, at)]).await?;
            announce(tx, message, Event::MessageUpdated { message }, at).await?;
            notify(tx, &before, &edit).await?;
            Ok(Changed { message: after.ok_or_else(Error::not_found)?, changed: true })
        })
        .await
    }
}

/// Notifies those newly mentioned, and withdraws the notifications of those no longer mentioned.
async fn notify(tx: &mut Tx, before: &StoredMessage, edit: &Edit) -> Result<()> {
    for user in before.mentions.iter().filter(|user| !edit.mentions.contains(user)) {
        tx.notifications().withdraw(NotificationId::mention(*user, edit.message)).await?;
    }
    let new = edit.told.iter().filter(|user| !before.mentions.contains(user));
    let new: Vec<Notification> = new
        .map(|user| Notification::mention(*user, before.sender, edit.kind, edit.message, edit.at))
        .collect();
    tx.notifications().raise_first(&new).await
}
