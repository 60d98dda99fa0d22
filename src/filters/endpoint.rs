//! The route table's rows.

use std::str::FromStr;

use super::path::segments;
use crate::domain::ids::{MessageId, UserId};

/// A method that some route takes. HEAD is answered as GET, OPTIONS from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// GET (and so HEAD).
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH (RFC 5789).
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    /// The method's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A class of rate limit; each has its own quota in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Public POSTs about accounts.
    Auth,
    /// Other reads.
    Read,
    /// Other changes.
    Write,
    /// Files.
    Upload,
    /// Searching.
    Search,
    /// Sockets and streams of events.
    Socket,
}

impl Class {
    /// The quota's name in settings and headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Read => "read",
            Self::Write => "write",
            Self::Upload => "upload",
            Self::Search => "search",
            Self::Socket => "socket",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Whoever presents a live access token.
    Bearer,
    /// Whoever presents a live access token now, or will once the protocol has changed.
    OptionalBearer,
}

/// What the route reads as a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing: whatever comes is not looked at.
    None,
    /// A JSON object of at most so many bytes.
    Json {
        /// Most bytes taken.
        limit: u64,
    },
    /// A form with a file (RFC 7578).
    Multipart,
    /// Either: a JSON object, or a form with the same fields and files.
    JsonOrMultipart {
        /// Most bytes of JSON, or of a form's fields.
        limit: u64,
        /// The rate limit that forms count against.
        form_class: Class,
    },
}

/// One row of the route table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Its method.
    pub verb: Verb,
    /// Its path, parameters in braces: `/groups/{group_id}/add`.
    pub path: &'static str,
    /// The rate limit that it counts against; `None` is unlimited.
    pub class: Option<Class>,
    /// Who may ask.
    pub access: Access,
    /// What it reads.
    pub body: Body,
}

impl Endpoint {
    const fn new(verb: Verb, path: &'static str, class: Class) -> Self {
        Self { verb, path, class: Some(class), access: Access::Bearer, body: Body::None }
    }

    /// A GET for whoever is signed in, without a body.
    #[must_use]
    pub const fn get(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Get, path, class)
    }

    /// A POST for whoever is signed in, without a body.
    #[must_use]
    pub const fn post(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Post, path, class)
    }

    /// A PUT for whoever is signed in, without a body.
    #[must_use]
    pub const fn put(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Put, path, class)
    }

    /// A PATCH for whoever is signed in, without a body.
    #[must_use]
    pub const fn patch(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Patch, path, class)
    }

    /// A DELETE for whoever is signed in, without a body.
    #[must_use]
    pub const fn delete(path: &'static str, class: Class) -> Self {
        Self::new(Verb::Delete, path, class)
    }

    /// The same, for anyone.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// The same, for who shows their token now or later.
    #[must_use]
    pub const fn later(mut self) -> Self {
        self.access = Access::OptionalBearer;
        self
    }

    /// The same, without a rate limit.
    #[must_use]
    pub const fn unlimited(mut self) -> Self {
        self.class = None;
        self
    }

    /// The same, reading a JSON object of up to 64 KiB.
    #[must_use]
    pub const fn json(self) -> Self {
        self.json_up_to(64 * 1024)
    }

    /// The same, reading a JSON object of up to `limit` bytes.
    #[must_use]
    pub const fn json_up_to(mut self, limit: u64) -> Self {
        self.body = Body::Json { limit };
        self
    }

    /// The same, reading a multipart form.
    #[must_use]
    pub const fn multipart(mut self) -> Self {
        self.body = Body::Multipart;
        self
    }

    /// The same, reading a JSON object of up to `limit` bytes or a multipart form, which counts
    /// against `form_class`.
    #[must_use]
    pub const fn json_or_multipart(mut self, limit: u64, form_class: Class) -> Self {
        self.body = Body::JsonOrMultipart { limit, form_class };
        self
    }

    /// The rate limit that a request counts against; `is_form` if its body claims to be one.
    #[must_use]
    pub fn class_of(&self, is_form: bool) -> Option<Class> {
        match self.body {
            Body::JsonOrMultipart { form_class, .. } if is_form => Some(form_class),
            Body::None | Body::Json { .. } | Body::Multipart | Body::JsonOrMultipart { .. } => {
                self.class
            }
        }
    }

    /// Whether `path` is one of this row's, with well-formed parameters.
    pub(super) fn takes(&self, path: &str) -> bool {
        segments(self.path, path).is_some_and(|params| {
            params.iter().all(|(name, value)| match *name {
                "message_id" => MessageId::from_str(value).is_ok(),
                "emoji" => !value.is_empty(),
                _ => UserId::from_str(value).is_ok(),
            })
        })
    }
}
