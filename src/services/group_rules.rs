//! The rules of groups: who may change what, what must hold, who is told. Each change is one
//! transaction.

mod create;
mod join;
mod leave;
mod roles;

use crate::domain::clock::Timestamp;
use crate::domain::conversations::Membership;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::groups::{Group, GroupChange, not_a_picture, only_managers};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use crate::services::attachments::uses;
use crate::store::Repositories;
use crate::store::rows::attachment_uses::Use;
use crate::store::striped_locks::StripedLocks;
use crate::store::{Store, Tx};

/// Changes groups; clones take their locks together.
#[derive(Debug, Clone)]
pub struct GroupRules {
    store: Store,
    locks: StripedLocks,
}

impl GroupRules {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories) -> Self {
        Self { store: repositories.store.clone(), locks: StripedLocks::new() }
    }

    /// Changes name or picture on behalf of a member who may: the group after. What is so already
    /// changes nothing.
    ///
    /// # Errors
    /// Not found for outsiders, forbidden for plain members; the store is away.
    pub async fn update(
        &self,
        group: GroupId,
        by: UserId,
        change: &GroupChange,
        at: Timestamp,
    ) -> Result<Group> {
        let change = change.clone();
        self.store
            .transact(async move |tx| {
                manager(tx, group, by).await?;
                let before = tx.groups().find(group).await?.ok_or_else(Error::not_found)?;
                if is_so(&before, &change) {
                    return Ok(before);
                }
                let after = tx.groups().set(group, &change, at).await?;
                let after = after.ok_or_else(Error::not_found)?;
                let (old, new) = (picture_use(&before), picture_use(&after));
                if old != new {
                    uses::remove(tx, old, at).await?;
                    if !tx.attachments().hold(new.map(|it| it.attachment)).await? {
                        return Err(not_a_picture());
                    }
                    tx.attachment_uses().insert(new).await?;
                }
                let updated = AddressedEvent::among(group, Event::GroupUpdated { group });
                tx.events().add([updated], at).await?;
                Ok(after)
            })
            .await
    }
}

/// Whether a change would change nothing.
fn is_so(group: &Group, change: &GroupChange) -> bool {
    let own = group.picture.as_ref().map(|picture| picture.id);
    let same_picture = change
        .picture
        .as_ref()
        .is_none_or(|picture| picture.as_ref().map(|picture| picture.id) == own);
    same_picture && change.name.as_ref().is_none_or(|name| name.as_str() == group.name)
}

/// That the picture, if there is one, is in use here.
fn picture_use(group: &Group) -> Option<Use> {
    let picture = group.picture.as_ref()?;
    Some(Use::picture(picture.id, group.id))
}

/// The place of a member.
async fn member(tx: &mut Tx, group: GroupId, user: UserId) -> Result<Membership> {
    tx.members().find(group.into(), user).await?.ok_or_else(Error::not_found)
}

/// The place of a member who manages the group.
async fn manager(tx: &mut Tx, group: GroupId, user: UserId) -> Result<Membership> {
    let member = member(tx, group, user).await?;
    if member.role.manages() { Ok(member) } else { Err(only_managers()) }
}
