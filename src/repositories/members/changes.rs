//! Changes of member rows that go with changes elsewhere, in their transactions.

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;

use super::users::Whose;
use super::{Members, key};
use crate::domain::conversations::{Membership, Role};
use crate::domain::ids::{ConversationId, UserId};
use crate::repositories::store::all_in;

impl Members {
    /// Gives a member another role.
    pub(in crate::repositories) async fn give_role_in(
        &self,
        session: &mut ClientSession,
        member: &Membership,
        role: Role,
    ) -> Result<(), DriverError> {
        let row = doc! { "_id": key(member.conversation, member.user) };
        let change = doc! { "$set": { "role": word(role) } };
        self.rows.update_one(row, change).session(session).await?;
        Ok(())
    }

    /// Lets everyone go; who they were. Each was in once.
    pub(in crate::repositories) async fn empty_in(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
    ) -> Result<Vec<UserId>, DriverError> {
        let everyone = doc! { "conversation_id": conversation };
        let rows = self.rows.clone_with_type::<Whose>();
        let find = rows.find(everyone.clone()).projection(doc! { "user_id": 1 });
        let found = find.session(&mut *session).await?;
        let members = all_in(session, found).await?;
        self.rows.delete_many(everyone).session(session).await?;
        Ok(members.into_iter().map(|member| member.user_id).collect())
    }

    /// What waits for someone in a direct conversation waits no more; it stays unread.
    pub(in crate::repositories) async fn stop_waiting_in(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<(), DriverError> {
        let rows = self.rows.clone_with_type::<Document>();
        let change = doc! { "$unset": { "waiting_at": "", "waiting_seq": "" } };
        let row = doc! { "_id": key(conversation, user) };
        rows.update_one(row, change).session(session).await?;
        Ok(())
    }
}

/// A role as rows have it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}
