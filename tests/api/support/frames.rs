//! Whether what natter sends over sockets is what its `AsyncAPI` document says. Every frame that a
//! test reads is checked, and every code that a connection is closed with.

use std::sync::LazyLock;

use serde_json::Value;

use super::json_schema::{compare, resolve};

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(natter::asyncapi::document);

/// What of a frame is not as documented for this operation.
pub fn faults(operation: &str, frame: &Value) -> Vec<String> {
    let messages = DOCUMENT["operations"][operation]["messages"].as_array().expect("messages");
    // To the channel's message, and on to that of the components.
    let messages = messages.iter().map(|it| resolve(&DOCUMENT, resolve(&DOCUMENT, it)));
    let Some(message) = messages.into_iter().find(|it| it["name"] == frame["type"]) else {
        return vec!["the type is not documented".to_owned()];
    };
    let mut found = Vec::new();
    compare(&DOCUMENT, &message["payload"], frame, "", &mut found);
    found
}

/// Expects a frame that came over a socket to be as documented.
pub fn check(name: &str, frame: &Value) {
    let found = faults("tell", frame);
    assert!(found.is_empty(), "{name}: not as documented: {frame}: {found:#?}");
}

/// Expects this code to be one that natter closes with.
pub fn check_code(name: &str, code: u16) {
    let known = DOCUMENT["channels"]["ws"]["x-close-codes"].as_array().expect("codes");
    let documented = known.iter().any(|known| known["code"] == code);
    assert!(documented, "{name}: closed with {code}, which is not documented");
}
