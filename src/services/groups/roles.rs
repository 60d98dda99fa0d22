//! What only the owner of a group may.

use super::{GroupMember, Groups, shown};
use crate::domain::conversations::Role;
use crate::domain::ids::{GroupId, UserId};
use crate::error::Result;

impl Groups {
    /// Gives a member a role. Who makes another the owner hands over, and is an admin then.
    ///
    /// # Errors
    /// Not found for outsiders, and if `user` is one; forbidden for all but the owner;
    /// `validation_failed` on `role` for an owner who would leave the group without one; the
    /// store is away.
    pub async fn give_role(
        &self,
        by: UserId,
        group: GroupId,
        user: UserId,
        role: Role,
    ) -> Result<GroupMember> {
        let member = self.rules.give_role(group, by, user, role, self.clock.now()).await?;
        let mut profiles = self.profiles.many(&[user]).await?;
        Ok(shown(&member, &mut profiles))
    }

    /// Ends a group, for everyone in it.
    ///
    /// # Errors
    /// Not found for outsiders, forbidden for all but the owner; the store is away.
    pub async fn delete(&self, by: UserId, group: GroupId) -> Result<()> {
        let everyone = self.rules.delete(group, by, self.clock.now()).await?;
        self.revocation.of_all_members(group.into(), &everyone).await;
        Ok(())
    }
}
