//! Making a group: the row, its conversation, its members and what they are told, or nothing.

use std::collections::HashSet;

use super::quota::Taken;
use super::{Groups, Row};
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::events::{Event, Happening};
use crate::domain::groups::{Group, NewGroup, too_many_groups};
use crate::domain::ids::UserId;
use crate::domain::notifications::Notification;
use crate::domain::relations::recipient_unavailable;
use crate::error::{Error, Result};
use crate::repositories::members::MemberRow;

impl Groups {
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
        let made = Row::from(new).into();
        // The owner's row is in each of theirs.
        let _turn = self.turns.of(new.owner.bytes()).await;
        let (this, new) = (self.clone(), new.clone());
        self.store
            .transact(async move |session| {
                if let Some(per_day) = per_day {
                    this.quota.make(session, new.owner, per_day, new.at).await?;
                }
                let taken = this.quota.take(session, &everyone).await?;
                if taken == Taken::Unknown {
                    return Err(unknown_member().into());
                }
                if this.relations.any_blocked_in(session, new.owner, &new.others).await? {
                    return Err(recipient_unavailable().into());
                }
                if taken == Taken::Full {
                    return Err(too_many_groups().into());
                }
                this.rows.insert_one(Row::from(&new)).session(&mut *session).await?;
                this.summaries.open(session, new.id.into(), new.at).await?;
                this.members.insert_in(session, founders(&new, &everyone)).await?;
                let created = Event::GroupCreated { group: new.id };
                this.events.add(session, [Happening::among(new.id, created)], new.at).await?;
                this.notifications.raise_first(session, &told).await?;
                Ok(())
            })
            .await?;
        Ok(made)
    }

    /// Those of these users who are accounts that can be added to a group.
    pub async fn addable(&self, users: &[UserId]) -> Result<HashSet<UserId>> {
        self.quota.known(users).await
    }
}

/// The rows of everyone in a new group, whose conversation is empty.
fn founders(new: &NewGroup, everyone: &[UserId]) -> Vec<MemberRow> {
    let role = |user| match user {
        user if user == new.owner => Role::Owner,
        user if new.admins.contains(&user) => Role::Admin,
        _ => Role::Member,
    };
    let member =
        |user: UserId| Membership::from_start(new.id.into(), user, Kind::Group, role(user), new.at);
    (1..).zip(everyone).map(|(place, user)| MemberRow::at_place(member(*user), place)).collect()
}

fn unknown_member() -> Error {
    Error::field("members", "unknown", "not all of these are users who can be added")
}
