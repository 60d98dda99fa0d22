//! The rules: who may, what must hold, what changes, who is told. No queries, no HTTP.

pub mod access;
pub mod attachments;
mod images;
pub mod upload;

use std::sync::Arc;

use access::Access;
use attachments::Attachments;

use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::error::Result;
use crate::repositories::Repositories;

/// Every service of an instance; cloning shares them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Access tokens.
    pub access: Arc<Access>,
    /// Files.
    pub attachments: Arc<Attachments>,
}

impl Services {
    /// Services over these repositories. All keys derive from the signing key (PKCS#8, DER).
    ///
    /// # Errors
    /// When the signing key is not one.
    pub fn new(
        settings: &Settings,
        signing_key: &[u8],
        clock: &Clock,
        repositories: &Repositories,
    ) -> Result<Self> {
        let issuer = settings.server.public_url.as_str().trim_end_matches('/');
        let sessions = repositories.sessions.clone();
        Ok(Self {
            access: Arc::new(Access::new(issuer, signing_key, clock, sessions)?),
            attachments: Arc::new(Attachments::new(repositories, clock)),
        })
    }
}
