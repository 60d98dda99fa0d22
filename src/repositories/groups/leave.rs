//! Leaving a group, or being removed: at once, and never without an owner.

use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::options::ReturnDocument;

use super::{Groups, Row};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Membership, Role};
use crate::domain::events::{Audience, Event, Happening};
use crate::domain::groups::only_managers;
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use crate::repositories::store::Abort;

impl Groups {
    /// Lets a member leave. An owner hands over first; the last one out ends the group.
    ///
    /// # Errors
    /// Not found for outsiders; the store is away.
    pub async fn leave(&self, group: GroupId, user: UserId, at: Timestamp) -> Result<()> {
        let _turn = self.turns.of(group.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |session| {
                let member = this.members.find_in(session, group.into(), user).await?;
                let member = member.ok_or_else(Error::not_found)?;
                this.part(session, &member, at).await
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
        let _turn = self.turns.of(group.bytes()).await;
        let this = self.clone();
        self.store
            .transact(async move |session| {
                let manager = this.manager(session, group, by).await?;
                let member = this.members.find_in(session, group.into(), user).await?;
                let member = member.ok_or_else(Error::not_found)?;
                if !manager.role.removes(member.role) {
                    return Err(only_managers().into());
                }
                this.part(session, &member, at).await
            })
            .await
    }

    async fn part(
        &self,
        session: &mut ClientSession,
        member: &Membership,
        at: Timestamp,
    ) -> Result<(), Abort> {
        let group = member.conversation.as_group();
        let row = self
            .rows
            .find_one_and_update(doc! { "_id": group }, doc! { "$inc": { "member_count": -1 } })
            .return_document(ReturnDocument::After)
            .session(&mut *session)
            .await?;
        let row = row.ok_or_else(Error::not_found)?;
        self.members.delete_in(session, member).await?;
        self.quota.give_back(session, &[member.user]).await?;
        // It would lead to a group that is not there for them any more.
        let (user, conversation) = (member.user, member.conversation);
        self.notifications.withdraw_of_conversation(session, user, conversation).await?;
        let gone = Event::MemberRemoved { group, user };
        let happened = if row.member_count == 0 {
            self.summaries.close(session, group.into()).await?;
            self.end(session, &row, at).await?;
            vec![Happening::for_users([user], gone)]
        } else {
            let audience = Audience::members(group).and(user);
            let mut happened = vec![Happening { event: gone, audience }];
            if member.role == Role::Owner {
                let user = self.hand_over(session, group, at).await?;
                let both = [Event::MemberUpdated { group, user }, Event::GroupUpdated { group }];
                happened.extend(both.map(|event| Happening::among(group, event)));
            }
            happened
        };
        Ok(self.events.add(session, happened, at).await?)
    }

    /// Makes another the owner: who it is now.
    async fn hand_over(
        &self,
        session: &mut ClientSession,
        group: GroupId,
        at: Timestamp,
    ) -> Result<UserId, Abort> {
        let owner = self.members.promote_in(session, group.into()).await?;
        let owner = owner.ok_or_else(|| Error::internal("a group counts members it has not"))?;
        let set = doc! { "$set": { "owner_id": owner, "updated_at": at } };
        self.rows.update_one(doc! { "_id": group }, set).session(session).await?;
        Ok(owner)
    }

    /// Forgets a group that nobody is in any more, and whose conversation is closed.
    pub(super) async fn end(
        &self,
        session: &mut ClientSession,
        group: &Row,
        at: Timestamp,
    ) -> Result<(), Abort> {
        self.rows.delete_one(doc! { "_id": group.group }).session(&mut *session).await?;
        self.uses.remove(session, group.picture_use(), at).await?;
        Ok(())
    }
}
