//! Every code of a problem: its status, and when it is answered.

/// Code, status, when. `docs/api.md` lists the same.
pub(super) const CODES: &[(&str, u16, &str)] = &[
    ("malformed_request", 400, "The request does not name its host once, as HTTP asks for."),
    ("malformed_json", 400, "The body is not JSON, repeats a name, or nests past 32."),
    ("malformed_multipart", 400, "The body is not a form as its `Content-Type` announces it."),
    ("invalid_query", 400, "The query is not valid UTF-8, or repeats a parameter."),
    ("invalid_cursor", 400, "The cursor or mark is not of this list."),
    ("missing_token", 401, "There is no `Authorization: Bearer`."),
    ("invalid_token", 401, "The access token is not one of ours."),
    ("token_expired", 401, "The access token is older than an hour: refresh it."),
    ("session_revoked", 401, "The session of the access token has ended."),
    ("invalid_credentials", 401, "The e-mail is unknown, or the password wrong."),
    ("invalid_refresh_token", 401, "The refresh token is unknown, or of an ended session."),
    ("refresh_token_reused", 401, "The refresh token was used before; its session has ended."),
    ("account_not_verified", 403, "The password is right, the e-mail not yet confirmed."),
    ("forbidden", 403, "The caller may not do this."),
    ("recipient_unavailable", 403, "The other one does not take this from the caller."),
    ("not_found", 404, "There is no such thing, or none that the caller may know of."),
    ("method_not_allowed", 405, "The path takes other methods: see `Allow`."),
    ("request_timeout", 408, "The request did not arrive in time."),
    ("email_taken", 409, "Someone else has this e-mail."),
    ("username_taken", 409, "Someone else has this name."),
    ("already_friends", 409, "The two are friends already."),
    ("request_already_sent", 409, "The caller has asked before, and waits for an answer."),
    ("already_member", 409, "They are in the group already."),
    ("group_full", 409, "The group, or a person's list of groups, is full."),
    ("message_deleted", 409, "The message was deleted."),
    ("limit_reached", 409, "The caller has as many of these as one may have."),
    ("payload_too_large", 413, "The body is longer than this route takes."),
    ("quota_exceeded", 413, "The caller's files are together as large as they may be."),
    ("unsupported_media_type", 415, "The body is of another type than this route reads."),
    ("range_not_satisfiable", 416, "The range begins past the end of the file."),
    ("upgrade_required", 426, "The path takes only the opening handshake of a WebSocket."),
    ("validation_failed", 422, "Some fields are invalid: `errors` lists every one."),
    ("cannot_friend_self", 422, "One cannot be one's own friend."),
    ("idempotency_key_reused", 422, "The `client_message_id` stands for another message here."),
    ("image_too_large", 422, "The image has more than 40 megapixels."),
    ("invalid_or_expired_token", 422, "The mailed token was used before, or is too old."),
    ("rate_limited", 429, "The quota is spent: come back after `Retry-After` seconds."),
    ("account_locked", 429, "Too many wrong passwords: come back after `Retry-After` seconds."),
    ("internal", 500, "A defect on our side: the request id helps to find it."),
    ("unavailable", 503, "The service cannot take the request now: repeat it later."),
];

/// Status and meaning of a code.
///
/// # Panics
/// For a code that is not listed above: a defect that any test of the document shows.
pub(super) fn look_up(code: &str) -> (u16, &'static str) {
    let row = CODES.iter().find(|(known, ..)| *known == code);
    let (_, status, when) = row.unwrap_or_else(|| panic!("{code} is in no row of CODES"));
    (*status, when)
}
