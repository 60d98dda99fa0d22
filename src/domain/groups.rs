//! Groups: what they are called, who leads them, how many are in them.

use serde::{Deserialize, Serialize};

use super::attachments::Attachment;
use super::clock::Timestamp;
use super::ids::{AttachmentId, GroupId, UserId};
use super::text::GroupName;
use crate::error::Error;

/// Most groups that one user may be in.
pub const MAX_GROUPS_OF_A_USER: u32 = 500;

/// A group, without its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its id, which is its conversation's too.
    pub id: GroupId,
    /// What it is called.
    pub name: String,
    /// One of the four kinds of image that are shown.
    pub picture: Option<Attachment>,
    /// Who leads it.
    pub owner: UserId,
    /// How many are in it, the owner included.
    pub member_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name, picture or owner last changed.
    pub updated_at: Timestamp,
}

/// A group that is to be.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Its id, fresh.
    pub id: GroupId,
    /// What it is called.
    pub name: GroupName,
    /// Who makes it.
    pub owner: UserId,
    /// Everyone else, each once, in the order in which they count as joined.
    pub others: Vec<UserId>,
    /// Those of the others who are admins from the start.
    pub admins: Vec<UserId>,
    /// When.
    pub at: Timestamp,
}

/// What of a group is to change; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct GroupChange {
    /// The new name.
    pub name: Option<GroupName>,
    /// The new picture; `Some(None)` takes it away.
    pub picture: Option<Option<Attachment>>,
}

impl GroupChange {
    /// Whether nothing is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.picture.is_none()
    }
}

/// As a client asks for it: the picture by its id.
#[derive(Debug, Clone, Default)]
pub struct GroupWish {
    /// The new name.
    pub name: Option<GroupName>,
    /// The new picture; `Some(None)` takes it away.
    pub picture: Option<Option<AttachmentId>>,
}

/// A place in the list of one's groups, the last joined first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPosition {
    /// When the last one of the page was joined.
    pub joined_at: Timestamp,
    /// Which one that was.
    pub group: GroupId,
}

/// A plain member may not do what only the owner and admins may.
#[must_use]
pub fn only_managers() -> Error {
    Error::forbidden(
        "forbidden",
        "permission denied: only the owner and admins of the group may do this",
    )
}

/// A member may not do what only the owner may.
#[must_use]
pub fn only_the_owner() -> Error {
    Error::forbidden("forbidden", "permission denied: only the owner of the group may do this")
}

/// An owner cannot just give up being one.
#[must_use]
pub fn groups_need_an_owner() -> Error {
    Error::field(
        "role",
        "owner_needed",
        "a group must have an owner; make another member the owner instead",
    )
}

/// The picture that a group is to have cannot be one.
#[must_use]
pub fn not_a_picture() -> Error {
    Error::field("group_picture", "unknown", "must be an image that you uploaded")
}

/// The group has as many members as it may have.
#[must_use]
pub fn group_full() -> Error {
    Error::conflict("group_full", "group is full: it has the maximum number of members")
}

/// Someone is in as many groups as one may be in.
#[must_use]
pub fn too_many_groups() -> Error {
    Error::conflict("group_full", "a named user is in the maximum number of groups")
}
