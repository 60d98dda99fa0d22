//! Leaving a group, or being removed: at once, and never without an owner.

use super::{GroupRules, manager, member, picture_use};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Membership, Role};
use crate::domain::events::{AddressedEvent, Audience, Event};
use crate::domain::groups::{Group, only_managers};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use crate::services::attachments::uses;
use crate::store::Tx;

impl GroupRules {
    /// Lets a member leave. An owner hands over first; the last one out ends the group.
    ///
    /// # Errors
    /// Not found for outsiders; the store is away.
    pub async fn leave(&self, group: GroupId, user: UserId, at: Timestamp) -> Result<()> {
        let _turn = self.locks.lock(group.bytes()).await;
        self.store
            .transact(async move |tx| {
                let member = member(tx, group, user).await?;
                part(tx, &member, at).await
            })
            .await
    }

    /// Removes `user` on behalf of another member who may.
    ///
    /// # Errors
    /// Not found for outsiders, and if `user` is one; forbidden if the roles do not allow it; the
    /// store is away.
    pub async fn remove(
        &self,
        group: GroupId,
        by: UserId,
        user: UserId,
        at: Timestamp,
    ) -> Result<()> {
        let _turn = self.locks.lock(group.bytes()).await;
        self.store
            .transact(async move |tx| {
                let manager = manager(tx, group, by).await?;
                let member = member(tx, group, user).await?;
                if !manager.role.removes(member.role) {
                    return Err(only_managers());
                }
                part(tx, &member, at).await
            })
            .await
    }
}

/// Takes a member out of a group; the last one out ends it.
async fn part(tx: &mut Tx, member: &Membership, at: Timestamp) -> Result<()> {
    let (group, user) = (member.conversation.as_group(), member.user);
    let left = tx.groups().count_out(group).await?.ok_or_else(Error::not_found)?;
    tx.members().delete(member).await?;
    tx.users().count_out_of_group(&[user]).await?;
    // It would lead to a group that is not there for them any more.
    tx.notifications().withdraw_of_conversation(user, group.into()).await?;
    let gone = Event::MemberRemoved { group, user };
    let happened = if left.member_count == 0 {
        tx.conversations().close(group.into()).await?;
        end(tx, &left, at).await?;
        vec![AddressedEvent::for_users([user], gone)]
    } else {
        let audience = Audience::members(group).and(user);
        let mut happened = vec![AddressedEvent { event: gone, audience }];
        if member.role == Role::Owner {
            let user = hand_over(tx, group, at).await?;
            let both = [Event::MemberUpdated { group, user }, Event::GroupUpdated { group }];
            happened.extend(both.map(|event| AddressedEvent::among(group, event)));
        }
        happened
    };
    tx.events().add(happened, at).await
}

/// Forgets a group that nobody is in any more, and whose conversation is closed.
pub(super) async fn end(tx: &mut Tx, group: &Group, at: Timestamp) -> Result<()> {
    tx.groups().delete(group.id).await?;
    uses::remove(tx, picture_use(group), at).await
}

/// Makes the admin who joined first the owner, else the member who did: who that is.
async fn hand_over(tx: &mut Tx, group: GroupId, at: Timestamp) -> Result<UserId> {
    for role in [Role::Admin, Role::Member] {
        if let Some(heir) = tx.members().senior(group.into(), role).await? {
            tx.members().give_role(&heir, Role::Owner).await?;
            tx.groups().set_owner(group, heir.user, at).await?;
            return Ok(heir.user);
        }
    }
    Err(Error::internal("a group counts members it has not"))
}
