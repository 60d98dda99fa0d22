//! The kinds of background jobs: a file for each, and a line below.

pub(super) mod mail;

mod dead_letters;
mod old_outbox;

use std::sync::Arc;

use self::dead_letters::ForgetDeadLetters;
use self::mail::MailDelivery;
use self::old_outbox::MoveOldOutbox;
use crate::domain::clock::Clock;
use crate::domain::mails::Mail;
use crate::jobs::Registry;
use crate::repositories::Repositories;

/// What jobs work with.
#[derive(Debug, Clone)]
pub struct JobDeps {
    pub(super) repositories: Repositories,
    pub(super) mails: Arc<MailDelivery>,
    pub(super) clock: Clock,
}

/// Every kind of job.
#[must_use]
pub fn registry() -> Registry<JobDeps> {
    Registry::default()
        .with::<Mail>()
        .with_periodic::<ForgetDeadLetters>()
        .with_periodic::<MoveOldOutbox>()
}
