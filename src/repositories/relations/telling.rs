//! What the two of a relation are told when it changes, in the transaction that changes it.

use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::error::Error as DriverError;

use super::Relations;
use super::row::{Row, key};
use crate::domain::clock::Timestamp;
use crate::domain::events::{Event, Happening};
use crate::domain::ids::UserId;
use crate::domain::notifications::{Notification, NotificationId};
use crate::domain::relations::Standing;

impl Relations {
    /// Tells `other` that `user` asks.
    pub(super) async fn tell_requested(
        &self,
        session: &mut ClientSession,
        user: UserId,
        other: UserId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let requested = Happening::for_users([other], Event::FriendRequested { user });
        self.events.add(session, [requested], at).await?;
        self.notifications.raise(session, &Notification::friend_request(other, user, at)).await
    }

    /// Tells both that `user` accepted; the request itself is dealt with, and so read.
    pub(super) async fn tell_accepted(
        &self,
        session: &mut ClientSession,
        user: UserId,
        other: UserId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let accepted = Happening::between(user, other, |user| Event::FriendAccepted { user });
        self.events.add(session, accepted, at).await?;
        let told = Notification::friend_accepted(other, user, at);
        self.notifications.raise(session, &told).await?;
        self.notifications.settle(session, NotificationId::friend_request(user, other)).await
    }

    /// Tells both that what there was between them is over, by an act of `user`; of blocks,
    /// nobody. A request that goes unanswered goes with its notification, which would lead
    /// nowhere; what was accepted stays told.
    pub(super) async fn tell_removed(
        &self,
        session: &mut ClientSession,
        row: &Row,
        user: UserId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let Some(relation) = row.seen_by(user) else { return Ok(()) };
        let other = relation.user;
        let removed = Happening::between(user, other, |user| Event::FriendRemoved { user });
        self.events.add(session, removed, at).await?;
        let told = match relation.standing {
            Standing::Accepted => return Ok(()),
            Standing::Incoming => NotificationId::friend_request(user, other),
            Standing::Outgoing => NotificationId::friend_request(other, user),
        };
        self.notifications.withdraw(session, told).await
    }

    /// Forgets whatever there is between the two, blocks included, as `user` is gone for good; and
    /// what each was told of the other's requests, answered or not.
    pub(in crate::repositories) async fn forget_in(
        &self,
        session: &mut ClientSession,
        user: UserId,
        other: UserId,
        at: Timestamp,
    ) -> Result<(), DriverError> {
        let row = self.rows.find_one_and_delete(doc! { "_id": key(user, other) });
        if let Some(row) = row.session(&mut *session).await? {
            self.tell_removed(session, &row, user, at).await?;
        }
        for (reader, asker) in [(user, other), (other, user)] {
            let told = NotificationId::friend_request(reader, asker);
            self.notifications.withdraw(session, told).await?;
        }
        Ok(())
    }
}
