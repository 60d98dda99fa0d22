//! Making a group: the row, its conversation, its members and what they are told, or nothing.

use std::time::Duration;

use super::GroupRules;
use super::join::{Admission, count_in};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::groups::{Group, NewGroup, too_many_groups};
use crate::domain::ids::UserId;
use crate::domain::notifications::Notification;
use crate::domain::relations::recipient_unavailable;
use crate::error::{Error, Result};
use crate::store::Tx;

/// The time in which groups that someone makes are counted together; it begins with the first.
const DAY: Duration = Duration::from_hours(24);

impl GroupRules {
    /// Makes a group of its owner and others; these are told.
    ///
    /// # Errors
    /// `validation_failed` on `members` if one of them is no account that can be added;
    /// `recipient_unavailable` if there is a block between one of them and the owner;
    /// `group_full` if one is in as many groups as one may be; `rate_limited` if the owner has made
    /// more than `per_day` within a day; the store is away.
    pub async fn create(&self, new: &NewGroup, per_day: Option<u32>) -> Result<Group> {
        let everyone: Vec<UserId> =
            std::iter::once(new.owner).chain(new.others.iter().copied()).collect();
        let told: Vec<Notification> = new
            .others
            .iter()
            .map(|user| Notification::group_added(*user, new.owner, new.id, new.at))
            .collect();
        // The owner's row is in each of theirs.
        let _turn = self.locks.lock(new.owner.bytes()).await;
        let new = new.clone();
        self.store
            .transact(async move |tx| {
                if let Some(per_day) = per_day {
                    count_made(tx, new.owner, per_day, new.at).await?;
                }
                let admission = count_in(tx, &everyone).await?;
                if admission == Admission::Unknown {
                    return Err(unknown_member());
                }
                if tx.relations().any_blocked(new.owner, &new.others).await? {
                    return Err(recipient_unavailable());
                }
                if admission == Admission::Full {
                    return Err(too_many_groups());
                }
                let made = tx.groups().insert(&new).await?;
                tx.conversations().open(new.id.into(), new.at).await?;
                tx.members().insert(founders(&new, &everyone)).await?;
                let created = Event::GroupCreated { group: new.id };
                tx.events().add([AddressedEvent::among(new.id, created)], new.at).await?;
                tx.notifications().raise_first(&told).await?;
                Ok(made)
            })
            .await
    }
}

/// Counts one group more that someone makes, deleted ones included: otherwise making and deleting
/// would have no end.
///
/// # Errors
/// `rate_limited` if that is more than `per_day`.
async fn count_made(tx: &mut Tx, user: UserId, per_day: u32, at: Timestamp) -> Result<()> {
    match tx.users().count_made(user, DAY, at).await? {
        Some(made) if made.groups_made > per_day => {
            let free = made.groups_since.unwrap_or(at).plus(DAY);
            Err(Error::limited("rate_limited", free.since(at)))
        }
        _ => Ok(()),
    }
}

/// Everyone in a new group, whose conversation is empty, in the order in which they count as
/// joined.
fn founders(new: &NewGroup, everyone: &[UserId]) -> Vec<(Membership, u32)> {
    let role = |user| match user {
        user if user == new.owner => Role::Owner,
        user if new.admins.contains(&user) => Role::Admin,
        _ => Role::Member,
    };
    let member =
        |user: UserId| Membership::from_start(new.id.into(), user, Kind::Group, role(user), new.at);
    everyone.iter().map(|user| member(*user)).zip(1..).collect()
}

fn unknown_member() -> Error {
    Error::field("members", "unknown", "some of the users cannot be added")
}
