//! Letting someone into a group: within the limits, once, from the end of the conversation on.

use super::{GroupRules, manager};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::groups::{group_full, too_many_groups};
use crate::domain::ids::{GroupId, UserId};
use crate::domain::notifications::Notification;
use crate::domain::relations::recipient_unavailable;
use crate::error::{Error, Result};
use crate::store::Tx;

/// What came of counting some users into one group more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Each is counted.
    All,
    /// At least one is not an account that can be added; the transaction must not commit.
    Unknown,
    /// At least one is in as many groups as one may be; the transaction must not commit.
    Full,
}

impl GroupRules {
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
        let _turn = self.locks.lock(group.bytes()).await;
        self.store
            .transact(async move |tx| {
                manager(tx, group, by).await?;
                if tx.members().find(group.into(), user).await?.is_some() {
                    return Err(already_member());
                }
                let counted = tx.groups().count_in(group, max_members).await?;
                let place = counted.ok_or_else(group_full)?.member_count;
                admit(tx, by, user).await?;
                let member = newcomer(tx, group, user, at).await?;
                tx.members().insert([(member, place)]).await?;
                let added = AddressedEvent::among(group, Event::MemberAdded { group, user });
                tx.events().add([added], at).await?;
                tx.notifications().raise(&told).await?;
                Ok(member)
            })
            .await
    }
}

/// Counts someone into one group more, if `by` may add them.
async fn admit(tx: &mut Tx, by: UserId, user: UserId) -> Result<()> {
    let admission = count_in(tx, &[user]).await?;
    if admission == Admission::Unknown {
        return Err(Error::not_found());
    }
    if tx.relations().any_blocked(by, &[user]).await? {
        return Err(recipient_unavailable());
    }
    if admission == Admission::Full {
        return Err(too_many_groups());
    }
    Ok(())
}

/// Counts users, each named once, into one group more.
pub(super) async fn count_in(tx: &mut Tx, users: &[UserId]) -> Result<Admission> {
    let count = users.len();
    if tx.users().count_into_group(users).await? == count as u64 {
        return Ok(Admission::All);
    }
    let are_known = tx.users().active(users).await?.len() == count;
    Ok(if are_known { Admission::Full } else { Admission::Unknown })
}

/// Someone new, who begins at the end of the conversation.
async fn newcomer(tx: &mut Tx, group: GroupId, user: UserId, at: Timestamp) -> Result<Membership> {
    let last_seq = tx.conversations().last_seq(group.into()).await?;
    // They may have been here before.
    let sent_count = tx.sends().total(user, group.into()).await?;
    Ok(Membership {
        joined_seq: last_seq,
        read_seq: last_seq,
        delivered_seq: last_seq,
        sent_count,
        sent_at_read: sent_count,
        dismissed_seq: last_seq,
        ..Membership::from_start(group.into(), user, Kind::Group, Role::Member, at)
    })
}

fn already_member() -> Error {
    Error::conflict("already_member", "user is already a member of the group")
}
