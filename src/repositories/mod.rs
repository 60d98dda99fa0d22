//! MongoDB: the truth. One file per collection; documents are private, domain types come out.

pub mod attachment_uses;
pub mod attachments;
pub mod files;
pub mod keys;
pub mod members;
pub mod pictures;
pub mod sessions;
pub mod store;

mod bson;

use attachment_uses::AttachmentUses;
use attachments::Attachments;
use files::Files;
use members::Members;
use pictures::Pictures;
use sessions::Sessions;
use store::Store;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Where files are used.
    pub attachment_uses: AttachmentUses,
    /// What is known of files.
    pub attachments: Attachments,
    /// The bytes of files.
    pub files: Files,
    /// Who is in which conversation.
    pub members: Members,
    /// Whose picture a file is.
    pub pictures: Pictures,
    /// Signed-in devices.
    pub sessions: Sessions,
}

impl Repositories {
    /// The repositories of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            attachment_uses: AttachmentUses::new(store),
            attachments: Attachments::new(store),
            files: Files::new(store),
            members: Members::new(store),
            pictures: Pictures::new(store),
            sessions: Sessions::new(store),
        }
    }
}
