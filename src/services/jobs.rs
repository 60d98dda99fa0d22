//! The kinds of background jobs: a file for each, and a line below.

pub(super) mod mail;

mod account_cleanup;
mod account_upkeep;
mod dead_letters;
mod file_collection;
mod old_outbox;

use std::sync::Arc;

use self::account_upkeep::KeepUpAccounts;
use self::dead_letters::ForgetDeadLetters;
use self::file_collection::CollectFiles;
use self::mail::MailDelivery;
use self::old_outbox::MoveOldOutbox;
use super::attachments::Attachments;
use super::deletion::Deletion;
use crate::domain::clock::Clock;
use crate::domain::mails::Mail;
use crate::domain::users::AccountCleanup;
use crate::jobs::Registry;
use crate::store::Repositories;

/// The dependencies of jobs.
#[derive(Debug, Clone)]
pub struct JobDeps {
    pub(super) repositories: Repositories,
    pub(super) attachments: Arc<Attachments>,
    pub(super) deletion: Arc<Deletion>,
    pub(super) mails: Arc<MailDelivery>,
    pub(super) clock: Clock,
}

/// Every kind of job.
#[must_use]
pub fn registry() -> Registry<JobDeps> {
    Registry::default()
        .with::<AccountCleanup>()
        .with::<Mail>()
        .with_periodic::<CollectFiles>()
        .with_periodic::<ForgetDeadLetters>()
        .with_periodic::<KeepUpAccounts>()
        .with_periodic::<MoveOldOutbox>()
}
