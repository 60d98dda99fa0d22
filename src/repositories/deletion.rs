//! The end of an account: one transaction after which it is gone for everyone. What is left of it
//! elsewhere goes afterwards, see `services/deletion.rs`.

use mongodb::bson::doc;

use super::accounts::Accounts;
use super::store::Tx;
use super::unused_files;
use super::users::Credentials;
use crate::domain::clock::Timestamp;
use crate::domain::jobs::Enqueue;
use crate::domain::users::{AccountCleanup, CLEANUP_HEAD_START};
use crate::error::Result;

impl Accounts {
    /// Deletes an account whose password has this hash: no session and no job any more, and of its
    /// row nothing but what the tombstone names. `false` if the password is another by now, or the
    /// account is gone.
    ///
    /// # Errors
    /// When the store is away; the account is then gone or as it was.
    pub async fn delete(&self, known: &Credentials, now: Timestamp) -> Result<bool> {
        let user = known.user.id;
        let (this, unchanged) = (self.clone(), known.unchanged(now));
        let gone = vec![doc! { "$replaceWith": {
            "_id": "$_id",
            // Kept from others for a while.
            "username_key": "$username_key",
            // It is still shown, as a deleted one, where it has written.
            "verified": "$verified",
            // Counted down as it leaves them.
            "group_count": "$group_count",
            // Counted down as its files are collected.
            "storage_bytes": "$storage_bytes",
            "created_at": "$created_at",
            "deleted_at": now,
            "cleanup": true,
        } }];
        self.store
            .transact(async move |tx: &mut Tx| {
                let update = this.users.rows.find_one_and_update(unchanged.clone(), gone.clone());
                let Some(before) = update.session(tx.session()).await? else { return Ok(false) };
                let picture = before.picture.map(|picture| picture.id);
                unused_files::let_go(tx, picture, now).await?;
                this.close(user, tx).await?;
                tx.jobs().delete_of(user).await?;
                let cleanup = AccountCleanup { user, deleted_at: now };
                let how = Enqueue::now(now).with_id(cleanup.id()).due(now.plus(CLEANUP_HEAD_START));
                tx.jobs().enqueue(&cleanup, how).await?;
                Ok(true)
            })
            .await
    }
}
