//! The `AsyncAPI` document: complete, sound, and where it should be. That it is true, every test
//! with a socket shows: `support::frames` compares each frame with it.

use std::collections::BTreeSet;

use natter::internals::domain::Event;
use serde_json::{Value, json};

use crate::openapi::{example_of, references, served_and_printed};
use crate::support::frames::{DOCUMENT, faults};
use crate::support::json_schema::resolve;

/// The members of a part of the document.
fn members(pointer: &str) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let part = DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    part.as_object().expect("an object").iter().map(|(name, it)| (name.as_str(), it))
}

/// The types of the messages that an operation has.
fn types_of(operation: &str) -> BTreeSet<&'static str> {
    let messages = DOCUMENT["operations"][operation]["messages"].as_array().expect("messages");
    let messages = messages.iter().map(|it| resolve(&DOCUMENT, resolve(&DOCUMENT, it)));
    messages.filter_map(|it| it["name"].as_str()).collect()
}

/// Every type of event that there is, as reading one of no type names them.
fn events() -> BTreeSet<String> {
    let error = serde_json::from_value::<Event>(json!({"type": "?"})).expect_err("no such type");
    let error = error.to_string();
    let (_, known) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_event_is_in_the_document_and_nothing_else() {
    let events = events();
    assert!(events.len() >= 18 && events.contains("message.created"), "{events:?}");
    let described: BTreeSet<String> = members("/components/messages")
        .filter(|(_, it)| it["description"] == "An event, which the log keeps.")
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(described, events, "src/routes/asyncapi/frames.rs");
    for operation in ["tell", "stream"] {
        let others = ["ready", "typing", "presence", "session.ended", "pong"];
        let rest = others.iter().filter(|name| operation == "tell" || **name != "pong");
        let told: BTreeSet<&str> = events.iter().map(String::as_str).chain(rest.copied()).collect();
        assert_eq!(types_of(operation), told, "{operation}");
    }
}

#[test]
fn the_documents_for_people_list_the_same_types_and_codes() {
    let words = include_str!("../../../docs/api.md");
    let chapter = words.split("## Real time").nth(1).and_then(|rest| rest.split("\n## ").next());
    let first_cells = || {
        let rows = chapter.expect("the chapter").lines().filter(|line| line.starts_with("| "));
        rows.filter_map(|line| line.split('|').nth(1))
    };
    let listed: BTreeSet<&str> = first_cells()
        .filter(|cell| !cell.contains(" /"))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| *name != "type")
        .collect();
    let named: BTreeSet<&str> =
        members("/components/messages").filter_map(|(_, it)| it["name"].as_str()).collect();
    assert_eq!(listed, named, "docs/api.md");
    let codes: BTreeSet<u64> = first_cells().filter_map(|cell| cell.trim().parse().ok()).collect();
    let documented = DOCUMENT["channels"]["ws"]["x-close-codes"].as_array().expect("codes");
    let documented: BTreeSet<u64> =
        documented.iter().filter_map(|row| row["code"].as_u64()).collect();
    assert_eq!(codes, documented, "docs/api.md");
}

/// What AsyncAPI 3.0 requires of each kind of object that the document has.
#[test]
fn the_document_is_sound() {
    assert_eq!(DOCUMENT["asyncapi"], "3.0.0");
    assert!(DOCUMENT["info"]["title"].is_string() && DOCUMENT["info"]["version"].is_string());
    let mut found = Vec::new();
    references(&DOCUMENT, &mut found);
    assert!(found.len() > 100, "the document is empty");
    for reference in found {
        let target = reference.strip_prefix('#').and_then(|pointer| DOCUMENT.pointer(pointer));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
    for (name, server) in members("/servers") {
        assert!(server["host"].is_string() && server["protocol"].is_string(), "{name}");
        let scheme = resolve(&DOCUMENT, &server["security"][0]);
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    }
    let word = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    for kind in ["messages", "schemas", "securitySchemes"] {
        for (name, _) in members(&format!("/components/{kind}")) {
            assert!(name.chars().all(word), "{kind}: {name} is no key");
        }
    }
    for (name, message) in members("/components/messages") {
        let says = message["summary"].as_str().unwrap_or_default();
        assert!(!says.is_empty() && message["payload"].is_object(), "{name}");
        let example = &message["examples"][0]["payload"];
        example_of(&DOCUMENT, &message["payload"], example, name);
        let both = ["name", "title"].map(|it| message[it].as_str().unwrap_or_default());
        let kind = example["type"].as_str().unwrap_or_default();
        assert_eq!(both, [kind; 2], "{name}");
    }
}

#[test]
fn every_operation_is_on_its_channel() {
    for (name, channel) in members("/channels") {
        assert!(channel["address"].as_str().is_some_and(|it| it.starts_with('/')), "{name}");
        assert!(channel["servers"][0]["$ref"].is_string(), "{name}");
        let pointer = format!("#/channels/{name}");
        let operations: Vec<_> = members("/operations")
            .filter(|(_, it)| it["channel"]["$ref"] == pointer.as_str())
            .collect();
        assert!(!operations.is_empty(), "{name}");
        let mut used = BTreeSet::new();
        for (id, operation) in operations {
            assert!(["send", "receive"].map(Value::from).contains(&operation["action"]), "{id}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{id}");
            let reply = operation["reply"]["messages"].as_array().into_iter().flatten();
            for message in operation["messages"].as_array().expect("messages").iter().chain(reply) {
                let reference = message["$ref"].as_str().unwrap_or_default();
                let key = reference.strip_prefix(&format!("{pointer}/messages/"));
                used.insert(key.unwrap_or_else(|| panic!("{id}: {reference} is of no channel")));
            }
        }
        let there: BTreeSet<&str> =
            members(&format!("/channels/{name}/messages")).map(|it| it.0).collect();
        assert_eq!(used, there, "{name}");
    }
    let received: BTreeSet<&str> = members("/operations")
        .filter(|(_, it)| it["action"] == "receive")
        .flat_map(|(id, _)| types_of(id))
        .collect();
    assert_eq!(received, BTreeSet::from(["auth", "typing", "delivered", "ping"]));
}

#[test]
fn a_wrong_frame_is_noticed() {
    let user = "a0fe13c2-5fc0-4b21-87d8-03d132ef735b";
    let right = json!({
        "type": "conversation.read",
        "id": "6922a1f00000000100000001",
        "at": "2026-03-01T09:30:00.000Z",
        "data": {"conversation_id": user, "user_id": user, "seq": 7},
    });
    assert_eq!(faults("tell", &right), [""; 0]);
    let changed = |pointer: &str, value: Value| {
        let mut frame = right.clone();
        *frame.pointer_mut(pointer).expect("a member") = value;
        faults("tell", &frame)
    };
    for (pointer, value) in [
        ("/type", json!("conversation.forgotten")),
        ("/type", json!("conversation.muted")),
        ("/type", json!("typing")),
        ("/id", Value::Null),
        ("/id", json!("6".repeat(129))),
        ("/at", json!(1)),
        ("/data", json!([])),
        ("/data/seq", json!("7")),
        ("/data/seq", json!(-1)),
        ("/data/user_id", Value::Null),
    ] {
        assert_ne!(changed(pointer, value.clone()), [""; 0], "{pointer}: {value}");
    }
    let mut more = right.clone();
    more["data"]["last_name"] = json!("x");
    assert_eq!(faults("tell", &more), ["/data/last_name is not documented"]);
    let mut less = right.clone();
    less["data"].as_object_mut().expect("an object").remove("seq");
    assert_eq!(faults("tell", &less), ["/data/seq is missing"]);
    assert_eq!(faults("typing", &json!({"type": "typing", "conversation_id": user})), [""; 0]);
    assert_ne!(faults("typing", &json!({"type": "typing"})), [""; 0]);
    assert_ne!(faults("stream", &json!({"type": "pong", "id": null})), [""; 0]);
}

#[tokio::test]
async fn the_document_is_served_and_printed() {
    served_and_printed("asyncapi", &DOCUMENT).await;
}
