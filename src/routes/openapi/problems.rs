//! The answers that follow from a route's row of the table: what may go wrong, and with which
//! headers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::codes::look_up;
use super::route::Route;
use crate::filters::endpoint::{Access, Body};
use crate::filters::problem::render_example;

/// Headers of every answer: name, meaning, example.
const EVERYWHERE: &[(&str, &str, &str)] = &[
    ("X-Request-Id", "The request's id: the caller's own, if it is well formed.", "a1b2c3d4"),
    ("Cache-Control", "Whether the answer may be kept.", "no-store"),
    ("X-Content-Type-Options", "The type is as stated.", "nosniff"),
    ("Strict-Transport-Security", "HTTPS only.", "max-age=31536000"),
    (
        "Content-Security-Policy",
        "What a browser may do with the answer.",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "The address is told to nobody.", "no-referrer"),
];

/// Headers of the answers of limited routes; absent where the class is off.
const LIMITED: &[(&str, &str, &str)] = &[
    ("RateLimit-Policy", "The quota of the route's class, and its window in seconds.", LIMIT),
    ("RateLimit", "What remains of it, and the seconds until it is whole again.", LEFT),
];
const LIMIT: &str = "\"read\";q=600;w=60";
const LEFT: &str = "\"read\";r=599;t=1";

/// Headers of some problems, by status.
const OF_STATUS: &[(u16, &str, &str, &str)] = &[
    (401, "WWW-Authenticate", "The scheme to authenticate by (RFC 6750).", "Bearer"),
    (405, "Allow", "The methods that the path takes.", "GET, HEAD, OPTIONS"),
    (416, "Content-Range", "The length of the file.", "bytes */48213"),
    (
        426,
        "Upgrade",
        "The protocol that is wanted; absent over h2, which has no such.",
        "websocket",
    ),
    (429, "Retry-After", "Seconds to wait.", "7"),
    (503, "Retry-After", "Seconds to wait.", "1"),
];

/// `components.headers`.
pub(super) fn headers() -> Value {
    let header = |required: bool, says: &str, example: &str| {
        let schema = json!({"type": "string", "examples": [example]});
        json!({"description": says, "required": required, "schema": schema, "example": example})
    };
    let everywhere = EVERYWHERE.iter().map(|row| (row.0, header(true, row.1, row.2)));
    let limited = LIMITED.iter().map(|row| (row.0, header(false, row.1, row.2)));
    let some = OF_STATUS.iter().map(|row| (row.1, header(row.0 != 426, row.2, row.3)));
    everywhere.chain(limited).chain(some).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// References to the headers that an answer of this status has by rule.
pub(super) fn headers_of(status: u16, limited: bool, is_problem: bool) -> Map<String, Value> {
    let everywhere = EVERYWHERE.iter().map(|row| row.0);
    let limited = LIMITED.iter().filter(|_| limited).map(|row| row.0);
    let own = OF_STATUS.iter().filter(|row| is_problem && row.0 == status).map(|row| row.1);
    let refer = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    everywhere.chain(limited).chain(own).map(|name| (name.to_owned(), refer(name))).collect()
}

/// Every code that this route may answer with, by status.
pub(super) fn codes_of(route: &Route) -> BTreeMap<u16, BTreeSet<&'static str>> {
    let row = &route.endpoint;
    let reads_query = route.parameters.iter().any(|parameter| parameter.place == "query");
    let bearer = row.access != Access::Public;
    let body: &[&'static str] = match row.body {
        Body::None => &[],
        Body::Json { .. } => &["malformed_json"],
        Body::Multipart => &["malformed_multipart"],
        Body::JsonOrMultipart { .. } => &["malformed_json", "malformed_multipart"],
    };
    let has_body = !body.is_empty();
    let rules: [(bool, &[&str]); 7] = [
        (true, &["malformed_request", "method_not_allowed", "request_timeout", "internal"]),
        (bearer, &["missing_token", "invalid_token", "token_expired", "session_revoked"]),
        (bearer || has_body, &["unavailable"]),
        (row.path.contains('{'), &["not_found"]),
        (row.class.is_some(), &["rate_limited"]),
        (has_body, &["payload_too_large", "unsupported_media_type", "validation_failed"]),
        (reads_query, &["invalid_query", "validation_failed"]),
    ];
    let by_rule = rules.iter().filter(|(applies, _)| *applies).flat_map(|(_, codes)| *codes);
    let mut found: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    for code in by_rule.copied().chain(body.iter().copied()).chain(route.codes.iter().copied()) {
        found.entry(look_up(code).0).or_default().insert(code);
    }
    found
}

/// The name of a problem in `components.responses`; routes with the same codes share it.
pub(super) fn name_of(status: u16, codes: &BTreeSet<&str>, limited: bool) -> String {
    let codes: Vec<&str> = codes.iter().copied().collect();
    format!("{status}.{}{}", codes.join("."), if limited { "" } else { ".unlimited" })
}

/// One of `components.responses`: a problem of this status with one of these codes.
pub(super) fn response(status: u16, codes: &BTreeSet<&'static str>, limited: bool) -> Value {
    let says: Vec<String> =
        codes.iter().map(|code| format!("`{code}`: {}", look_up(code).1)).collect();
    // Beside the reference and not in an `allOf`: generators of clients merge the parts of one, and
    // leave an answer out where they cannot; what stands beside a reference they pass over.
    let schema = json!({
        "$ref": "#/components/schemas/Problem",
        "properties": {"status": {"const": status}, "code": {"enum": codes}},
    });
    let example = |code: &&'static str| {
        let value = render_example(status, code, look_up(code).1);
        ((*code).to_owned(), json!({"summary": look_up(code).1, "value": value}))
    };
    let examples: Map<String, Value> = codes.iter().map(example).collect();
    json!({
        "description": says.join("\n\n"),
        "headers": headers_of(status, limited, true),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    })
}
