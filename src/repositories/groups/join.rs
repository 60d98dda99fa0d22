//! Letting someone into a group: within the limits, once, from the end of the conversation on.

use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::options::ReturnDocument;

use super::Groups;
use super::quota::Taken;
use super::summary::End;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::events::{Event, Happening};
use crate::domain::groups::{group_full, too_many_groups};
use crate::domain::ids::{GroupId, UserId};
use crate::domain::notifications::Notification;
use crate::domain::relations::recipient_unavailable;
use crate::error::{Error, Result};
use crate::repositories::members::MemberRow;
use crate::repositories::store::Abort;

impl Groups {
    /// Adds `user` on behalf of a member who may, while the group has fewer than `max_members`.
    ///
    /// What others send meanwhile needs no lock to be counted right. The new row and the end of
    /// the conversation come from one snapshot, so the newcomer begins exactly there: a message
    /// that commits between this snapshot and this commit has a greater number, is unread for
    /// them, and counts them in its status, as if they had joined just before it. Their own
    /// earlier messages cannot race: sending writes the sender's row, which is gone.
    ///
    /// # Errors
    /// Not found for outsiders and for users who cannot be added; forbidden for plain members;
    /// `already_member`, `group_full`; `recipient_unavailable` if there is a block between `by`
    /// and `user`; the store is away.
    pub async fn add(
        &self,
        group: GroupId,
        by: UserId,
        user: UserId,
        max_members: u32,
        at: Timestamp,
    ) -> Result<Membership> {
        let told = Notification::group_added(user, by, group, at);
        let _turn = self.turns.of(group.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |session| {
                this.manager(session, group, by).await?;
                if this.members.find_in(session, group.into(), user).await?.is_some() {
                    return Err(already_member().into());
                }
                let free = doc! { "_id": group, "member_count": { "$lt": max_members } };
                let row = this
                    .rows
                    .find_one_and_update(free, doc! { "$inc": { "member_count": 1 } })
                    .return_document(ReturnDocument::After)
                    .session(&mut *session)
                    .await?;
                let place = row.ok_or_else(group_full)?.member_count;
                this.admit(session, by, user).await?;
                let end = this.summaries.end(session, group.into(), user).await?;
                let member = newcomer(group, user, end, at);
                let row = MemberRow::at_place(member, place);
                this.members.insert_in(session, vec![row]).await?;
                let added = Happening::among(group, Event::MemberAdded { group, user });
                this.events.add(session, [added], at).await?;
                this.notifications.raise(session, &told).await?;
                Ok(member)
            })
            .await
    }

    /// Counts someone into one group more, if `by` may add them.
    async fn admit(
        &self,
        session: &mut ClientSession,
        by: UserId,
        user: UserId,
    ) -> Result<(), Abort> {
        let taken = self.quota.take(session, &[user]).await?;
        if taken == Taken::Unknown {
            return Err(Error::not_found().into());
        }
        if self.relations.any_blocked_in(session, by, &[user]).await? {
            return Err(recipient_unavailable().into());
        }
        if taken == Taken::Full {
            return Err(too_many_groups().into());
        }
        Ok(())
    }
}

/// Someone new, who begins at the end of the conversation.
fn newcomer(group: GroupId, user: UserId, end: End, at: Timestamp) -> Membership {
    Membership {
        joined_seq: end.last_seq,
        read_seq: end.last_seq,
        delivered_seq: end.last_seq,
        own_total: end.own_total,
        own_at_read: end.own_total,
        noticed_seq: end.last_seq,
        ..Membership::from_start(group.into(), user, Kind::Group, Role::Member, at)
    }
}

fn already_member() -> Error {
    Error::conflict("already_member", "they are in the group already")
}
