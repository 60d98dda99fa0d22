//! What only the owner may: giving roles, handing over, ending the group.

use super::leave::end;
use super::{GroupRules, member};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Membership, Role};
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::groups::{groups_need_an_owner, only_the_owner};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};

impl GroupRules {
    /// Gives `user` a role on behalf of the owner: their place after. Who makes another the owner
    /// is an admin from then on. A role that they have already changes nothing.
    ///
    /// # Errors
    /// Not found for outsiders, and if `user` is one; forbidden for all but the owner;
    /// `validation_failed` on `role` if the owner would only give up their own; the store is away.
    pub async fn give_role(
        &self,
        group: GroupId,
        by: UserId,
        user: UserId,
        role: Role,
        at: Timestamp,
    ) -> Result<Membership> {
        let _turn = self.locks.lock(group.bytes()).await;
        self.store
            .transact(async move |tx| {
                let owner = owns(member(tx, group, by).await?)?;
                let member = member(tx, group, user).await?;
                if member.role == role {
                    return Ok(member);
                }
                if member.user == owner.user {
                    return Err(groups_need_an_owner());
                }
                tx.members().give_role(&member, role).await?;
                let mut happened = vec![Event::MemberUpdated { group, user }];
                if role == Role::Owner {
                    tx.members().give_role(&owner, Role::Admin).await?;
                    tx.groups().set_owner(group, user, at).await?;
                    happened.push(Event::MemberUpdated { group, user: owner.user });
                    happened.push(Event::GroupUpdated { group });
                } else {
                    tx.groups().count_role_change(group).await?;
                }
                let happened =
                    happened.into_iter().map(|event| AddressedEvent::among(group, event));
                tx.events().add(happened, at).await?;
                Ok(Membership { role, ..member })
            })
            .await
    }

    /// Ends a group on behalf of its owner, and says who was in it: nobody is in it any more,
    /// nobody was told of it, its files belong to nobody but those who uploaded them. All of it at
    /// once: a thousand members are some thousands of small rows.
    ///
    /// # Errors
    /// Not found for outsiders, forbidden for all but the owner; the store is away.
    pub async fn delete(&self, group: GroupId, by: UserId, at: Timestamp) -> Result<Vec<UserId>> {
        let _turn = self.locks.lock(group.bytes()).await;
        // Whoever may not is in nobody's way.
        let place = self.store.members().find(group.into(), by).await?;
        owns(place.ok_or_else(Error::not_found)?)?;
        self.store
            .transact(async move |tx| {
                // Before anything is read, as every message writes its conversation: from here on
                // those who write start again, not this.
                tx.conversations().close(group.into()).await?;
                owns(member(tx, group, by).await?)?;
                let ended = tx.groups().find(group).await?.ok_or_else(Error::not_found)?;
                end(tx, &ended, at).await?;
                let everyone = tx.members().users(group.into()).await?;
                tx.members().delete_of(group.into()).await?;
                tx.users().count_out_of_group(&everyone).await?;
                tx.notifications().withdraw_all_of_conversation(group.into()).await?;
                let deleted = AddressedEvent::for_users(&*everyone, Event::GroupDeleted { group });
                tx.events().add([deleted], at).await?;
                Ok(everyone)
            })
            .await
    }
}

/// The place, if it is the owner's.
fn owns(member: Membership) -> Result<Membership> {
    if member.role == Role::Owner { Ok(member) } else { Err(only_the_owner()) }
}
