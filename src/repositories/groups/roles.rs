//! What only the owner may: giving roles, handing over, ending the group.

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};

use super::Groups;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Membership, Role};
use crate::domain::events::{Event, Happening};
use crate::domain::groups::{groups_need_an_owner, only_the_owner};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use crate::repositories::store::Abort;

impl Groups {
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
        let _turn = self.turns.of(group.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |session| {
                let owner = this.owner(session, group, by).await?;
                let member = this.members.find_in(session, group.into(), user).await?;
                let member = member.ok_or_else(Error::not_found)?;
                if member.role == role {
                    return Ok(member);
                }
                if member.user == owner.user {
                    return Err(groups_need_an_owner().into());
                }
                this.members.give_role_in(session, &member, role).await?;
                // Counted, so that this conflicts with every other change of who is in, as what
                // others have read of roles is then stale.
                let mut change = doc! { "$inc": { "role_changes": 1_i64 } };
                let mut happened = vec![Event::MemberUpdated { group, user }];
                if role == Role::Owner {
                    this.members.give_role_in(session, &owner, Role::Admin).await?;
                    change.insert("$set", doc! { "owner_id": user, "updated_at": at });
                    happened.push(Event::MemberUpdated { group, user: owner.user });
                    happened.push(Event::GroupUpdated { group });
                }
                this.write(session, group, change).await?;
                let happened = happened.into_iter().map(|event| Happening::among(group, event));
                this.events.add(session, happened, at).await?;
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
        let _turn = self.turns.of(group.bytes()).await;
        // Whoever may not is in nobody's way.
        owns(self.members.find(group.into(), by).await?)?;
        let this = self.clone();
        self.store
            .transact(async move |session| {
                // Before anything is read, as every message writes its conversation: from here on
                // those who write start again, not this.
                this.summaries.close(session, group.into()).await?;
                this.owner(session, group, by).await?;
                let row = this.rows.find_one(doc! { "_id": group }).session(&mut *session);
                let row = row.await?.ok_or_else(Error::not_found)?;
                this.end(session, &row, at).await?;
                let everyone = this.members.empty_in(session, group.into()).await?;
                this.quota.give_back(session, &everyone).await?;
                this.notifications.withdraw_all_of_conversation(session, group.into()).await?;
                let deleted = Happening::for_users(&*everyone, Event::GroupDeleted { group });
                this.events.add(session, [deleted], at).await?;
                Ok(everyone)
            })
            .await
    }

    /// The place of the owner, if it is `user`.
    async fn owner(
        &self,
        session: &mut ClientSession,
        group: GroupId,
        user: UserId,
    ) -> Result<Membership, Abort> {
        Ok(owns(self.members.find_in(session, group.into(), user).await?)?)
    }

    async fn write(
        &self,
        session: &mut ClientSession,
        group: GroupId,
        change: Document,
    ) -> Result<(), Abort> {
        self.rows.update_one(doc! { "_id": group }, change).session(session).await?;
        Ok(())
    }
}

/// The place of a member who owns the group.
fn owns(member: Option<Membership>) -> Result<Membership> {
    let member = member.ok_or_else(Error::not_found)?;
    if member.role == Role::Owner { Ok(member) } else { Err(only_the_owner()) }
}
