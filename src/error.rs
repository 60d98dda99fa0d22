//! The one error type: what went wrong, in the words of the rules, without any HTTP.
//!
//! Where an error becomes a response (`filters::problem`) its kind picks the status; its code is
//! stable and documented; its source is logged there once and never leaves the process.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of everything that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is; decides the status of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be parsed or decoded at all.
    Malformed,
    /// The path speaks another protocol.
    UpgradeRequired,
    /// Nobody is signed in, or not any more.
    Unauthenticated,
    /// The caller is known and may not.
    Forbidden,
    /// There is no such thing, or the caller may not know that there is.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The state of things does not allow it.
    Conflict,
    /// More bytes than the limit.
    TooLarge,
    /// The body's media type is not one that the route reads.
    UnsupportedMedia,
    /// The body is compressed.
    UnsupportedEncoding,
    /// No byte of the range that was asked for is there.
    RangeNotSatisfiable,
    /// Parsed, but breaks a rule.
    Invalid,
    /// Too much, too fast.
    Limited,
    /// A store cannot take the request now; repeating it later is right.
    Unavailable,
    /// The request took longer than it may.
    TimedOut,
    /// A defect of ours.
    Internal,
}

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field as the client spelt it; nested ones with dots and indexes (`members.3`).
    #[schema(example = "limit")]
    pub field: String,
    /// A stable, machine-readable reason: `required`, `invalid_type`, `too_long`, …
    #[schema(example = "out_of_range")]
    pub code: Cow<'static, str>,
    /// The reason for people.
    #[schema(example = "must be a whole number from 1 to 100")]
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// Names a bad field, the stable reason and its explanation.
    pub fn new(
        field: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), code: code.into(), message: message.into() }
    }
}

/// A failure: its kind, a stable code, a sentence for people, and what caused it.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    code: &'static str,
    detail: Cow<'static, str>,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    fn new(kind: Kind, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// The request cannot be parsed: `malformed_json`, `invalid_cursor`, …
    pub fn malformed(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Malformed, code, detail)
    }

    /// The caller has no (longer a) valid credential.
    pub fn unauthenticated(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, code, detail)
    }

    /// The caller may not do this.
    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Forbidden, code, detail)
    }

    /// There is nothing here that the caller may see.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "not_found", "resource not found")
    }

    /// The path is known, with other methods.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            Kind::MethodNotAllowed,
            "method_not_allowed",
            "method not allowed; the Allow header lists the methods of this path",
        )
    }

    /// The path is for sockets only.
    #[must_use]
    pub fn upgrade_required() -> Self {
        let detail = "this path accepts only a WebSocket opening handshake (RFC 6455)";
        Self::new(Kind::UpgradeRequired, "upgrade_required", detail)
    }

    /// The state of things stands against it: `email_taken`, `group_full`, …
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Conflict, code, detail)
    }

    /// More than `limit` bytes were sent.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            Kind::TooLarge,
            "payload_too_large",
            format!("request body too large; the limit is {limit} bytes"),
        )
    }

    /// The caller's stored files leave no room for this body.
    pub fn over_quota(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::TooLarge, "quota_exceeded", detail)
    }

    /// The body is of a media type that the route does not read; `expected` names those it does.
    #[must_use]
    pub fn unsupported_media(expected: &'static str) -> Self {
        Self::new(
            Kind::UnsupportedMedia,
            "unsupported_media_type",
            format!("unsupported media type; send the body as {expected}"),
        )
    }

    /// The body is compressed, or otherwise encoded.
    #[must_use]
    pub fn unsupported_encoding() -> Self {
        let detail = "unsupported content encoding; send the body without Content-Encoding";
        Self::new(Kind::UnsupportedEncoding, "unsupported_media_type", detail)
    }

    /// A range of bytes that begins past the end of the file.
    #[must_use]
    pub fn range_not_satisfiable() -> Self {
        Self::new(
            Kind::RangeNotSatisfiable,
            "range_not_satisfiable",
            "the range begins past the end of the file; Content-Range has its size",
        )
    }

    /// The request was understood and breaks a rule that is not one field's.
    pub fn invalid(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, code, detail)
    }

    /// Bad fields, all of them: `validation_failed`.
    #[must_use]
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let mut error = Self::new(
            Kind::Invalid,
            "validation_failed",
            "some fields are invalid; errors lists every one",
        );
        error.0.fields = fields;
        error
    }

    /// One bad field: `validation_failed`.
    pub fn field(
        field: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::fields(vec![FieldError::new(field, code, message)])
    }

    /// Too many requests: `rate_limited` or `account_locked`; to be repeated after `retry_after`.
    #[must_use]
    pub fn limited(code: &'static str, retry_after: Duration) -> Self {
        let mut error = Self::new(
            Kind::Limited,
            code,
            "too many attempts; retry after the seconds in Retry-After",
        );
        error.0.retry_after = Some(retry_after);
        error
    }

    /// A store, or a queue in front of it, cannot take the request now.
    #[must_use]
    pub fn unavailable() -> Self {
        let mut error = Self::new(
            Kind::Unavailable,
            "unavailable",
            "service temporarily unavailable; retry after the seconds in Retry-After",
        );
        error.0.retry_after = Some(Duration::from_secs(1));
        error
    }

    /// The client did not send its whole request in time.
    #[must_use]
    pub fn timed_out() -> Self {
        Self::new(
            Kind::TimedOut,
            "request_timeout",
            "request timed out; the client did not send all of it in time",
        )
    }

    /// A defect: something that cannot happen did.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(
            Kind::Internal,
            "internal",
            "internal server error; the request id finds its cause in the log",
        );
        error.0.source = Some(Arc::from(source.into()));
        error
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable code that clients may match on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people; holds no internals.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The bad fields of a `validation_failed`, otherwise empty.
    #[must_use]
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// How long to wait before repeating the request, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
