//! What the two of a relation are told when it changes, in the transaction that changes it.

use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::UserId;
use crate::domain::notifications::{Notification, NotificationId};
use crate::domain::relations::Standing;
use crate::error::Result;
use crate::store::Tx;
use crate::store::rows::relations::Row;

/// Tells `other` that `user` asks.
pub(super) async fn requested(
    tx: &mut Tx,
    user: UserId,
    other: UserId,
    at: Timestamp,
) -> Result<()> {
    let requested = AddressedEvent::for_users([other], Event::FriendRequested { user });
    tx.events().add([requested], at).await?;
    tx.notifications().raise(&Notification::friend_request(other, user, at)).await
}

/// Tells both that `user` accepted; the request itself is dealt with, and so read.
pub(super) async fn accepted(
    tx: &mut Tx,
    user: UserId,
    other: UserId,
    at: Timestamp,
) -> Result<()> {
    let accepted = AddressedEvent::between(user, other, |user| Event::FriendAccepted { user });
    tx.events().add(accepted, at).await?;
    tx.notifications().raise(&Notification::friend_accepted(other, user, at)).await?;
    tx.notifications().settle(NotificationId::friend_request(user, other)).await
}

/// Tells both that what there was between them is over, by an act of `user`; of blocks, nobody. A
/// request that goes unanswered goes with its notification, which would lead nowhere; what was
/// accepted stays told.
pub(in crate::services) async fn removed(
    tx: &mut Tx,
    row: &Row,
    user: UserId,
    at: Timestamp,
) -> Result<()> {
    let Some(relation) = row.seen_by(user) else { return Ok(()) };
    let other = relation.user;
    let removed = AddressedEvent::between(user, other, |user| Event::FriendRemoved { user });
    tx.events().add(removed, at).await?;
    let told = match relation.standing {
        Standing::Accepted => return Ok(()),
        Standing::Incoming => NotificationId::friend_request(user, other),
        Standing::Outgoing => NotificationId::friend_request(other, user),
    };
    tx.notifications().withdraw(told).await
}
