use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::fixture::Fixture;
use super::reference::UserRef;
use super::source::Source;
use crate::domain::clock::random_bytes;
use crate::domain::relations::RelationStatus;

/// A small fixture in a directory of its own, to be spoilt.
struct Draft {
    files: BTreeMap<&'static str, Value>,
    directory: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Draft {
    fn new() -> Self {
        let user = |name: &str| {
            json!({
                "id": format!("$user:{name}"),
                "username": name,
                "email": format!("{name}@example.com"),
                "password": "correct horse",
            })
        };
        let files = BTreeMap::from([
            ("users.json", json!([user("ada"), user("grace"), user("alan")])),
            (
                "attachments.json",
                json!([{ "id": "$attachment:a", "uploader": "$user:ada", "file": "a.png",
                    "filename": "a.png" }]),
            ),
            (
                "friendships.json",
                json!([{ "from": "$user:ada", "to": "$user:grace", "status": "accepted" }]),
            ),
            (
                "groups.json",
                json!([{ "id": "$group:g", "group_name": "G", "owner": "$user:ada",
                    "admins": ["$user:grace"] }]),
            ),
            (
                "conversations.json",
                json!([{ "id": "$conversation:c", "group": "$group:g", "messages": [
                    { "from": "$user:ada", "text": "hi", "attachments": ["$attachment:a"] },
                    { "from": "$user:grace", "text": "hello", "reply_to": 1 },
                ] }]),
            ),
        ]);
        let name = format!("natter-{}", u64::from_be_bytes(random_bytes()));
        Self { files, directory: std::env::temp_dir().join(name).join("small") }
    }

    /// Sets the value at a JSON pointer (RFC 6901) of a file.
    fn with(mut self, file: &str, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = self.files.get_mut(file).unwrap().pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items.insert(name.parse().unwrap(), value),
            parent => parent[name] = value,
        }
        self
    }

    fn read(&self) -> Result<Fixture, String> {
        std::fs::create_dir_all(self.directory.join("files")).unwrap();
        std::fs::write(self.directory.join("files/a.png"), b"bytes").unwrap();
        for (file, value) in &self.files {
            std::fs::write(self.directory.join(file), value.to_string()).unwrap();
        }
        Fixture::read(&Source::find(&self.directory)).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(self, line: &str) {
        assert_eq!(self.read().map(|_| ()), Err(format!("fixture small: {line}")));
    }
}

#[test]
fn the_demo_has_what_it_promises() {
    let demo = Fixture::read(&Source::find(Path::new("demo"))).unwrap();
    assert_eq!((demo.users.len(), demo.groups.len(), demo.files.len()), (20, 5, 3));
    assert_eq!(demo.conversations.iter().map(|c| c.messages.len()).sum::<usize>(), 500);
    let is_called = |user: &UserRef, name: &str| user.to_string() == format!("$user:{name}");
    let of_ada = |from: &str, to: &str, status| {
        demo.friendships.iter().any(|entry| {
            (from == "*" || is_called(&entry.from, from))
                && (to == "*" || is_called(&entry.to, to))
                && entry.status == status
        })
    };
    for (name, password) in [("ada", "correct horse ada"), ("grace", "correct horse grace")] {
        let user = demo.users.iter().find(|user| is_called(&user.id, name)).unwrap();
        assert_eq!(user.password.expose(), password);
        assert!(of_ada(name, "*", RelationStatus::Pending), "{name} asks");
        assert!(of_ada("*", name, RelationStatus::Pending), "{name} is asked");
        assert!(of_ada(name, "*", RelationStatus::Accepted), "{name} has friends");
    }
    for (name, kind) in
        [("ada.jpg", "image/jpeg"), ("engine.png", "image/png"), ("orbit.webp", "image/webp")]
    {
        assert_eq!(infer::get(&demo.files[name]).unwrap().mime_type(), kind);
    }
}

#[test]
fn a_sound_fixture_is_read() {
    let fixture = Draft::new().read().unwrap();
    assert_eq!(fixture.name, "small");
    assert_eq!(fixture.files["a.png"], b"bytes");
    let conversation = &fixture.conversations[0];
    assert_eq!(conversation.messages[1].reply_to, Some(1));
    assert_eq!(conversation.client_message_id("small", 2), "seed:small:c:2");
}

#[test]
fn bad_values_are_named() {
    Draft::new()
        .with("users.json", "/1/password", json!("short"))
        .refused("users.json, $user:grace: password: must have at least 8 characters");
    Draft::new().with("users.json", "/1/id", json!("grace")).refused(
        "users.json, grace: id: \"grace\" is not $user:name, the name of a-z, 0-9 and '-'",
    );
    Draft::new().with("friendships.json", "/0/status", json!("enemies")).refused(
        "friendships.json, entry 1: status: unknown variant `enemies`, expected `pending` or \
             `accepted`",
    );
    Draft::new().with("conversations.json", "/0/messages/1/text", json!(" ")).refused(
        "conversations.json, $conversation:c: messages[1]: text: must contain at least one \
             visible character",
    );
}

#[test]
fn references_that_lead_nowhere_are_named() {
    Draft::new().with("users.json", "/1/picture", json!("$attachment:a")).refused(
        "users.json, $user:grace: $attachment:a is a file of $user:ada, not of $user:grace",
    );
    Draft::new()
        .with("groups.json", "/0/members", json!(["$user:bob"]))
        .refused("groups.json, $group:g: there is no $user:bob in users.json");
    Draft::new().with("friendships.json", "/0/to", json!("$user:bob")).refused(
        "friendships.json, entry 1 ($user:ada, $user:bob): there is no $user:bob in users.json",
    );
    Draft::new()
        .with("conversations.json", "/0/group", json!("$group:h"))
        .refused("conversations.json, $conversation:c: there is no $group:h in groups.json");
    Draft::new().with("attachments.json", "/0/file", json!("../a.png")).refused(
        "attachments.json, $attachment:a: file: \"../a.png\" is not the name of a file in \
             files/",
    );
}

#[test]
fn contradictions_are_named() {
    let twice = json!({ "from": "$user:grace", "to": "$user:ada", "status": "pending" });
    Draft::new()
        .with("friendships.json", "/1", twice)
        .refused("friendships.json, entry 2 ($user:grace, $user:ada): these two are there twice");
    Draft::new()
        .with("users.json", "/1/email", json!("ADA@example.com"))
        .refused("users.json, $user:grace: ada@example.com is there twice");
    Draft::new()
        .with("groups.json", "/0/members", json!(["$user:ada"]))
        .refused("groups.json, $group:g: $user:ada is there twice");
    Draft::new().with("conversations.json", "/0/messages/1/from", json!("$user:alan")).refused(
        "conversations.json, $conversation:c: message 2: $user:alan is not in this conversation",
    );
    Draft::new().with("conversations.json", "/0/messages/1/reply_to", json!(2)).refused(
        "conversations.json, $conversation:c: message 2: reply_to must be the number of an \
             earlier message, from 1",
    );
    Draft::new()
        .with("conversations.json", "/0/between", json!(["$user:ada", "$user:ada"]))
        .refused("conversations.json, $conversation:c: must have one of between and group");
}

#[test]
fn what_is_not_there_is_named() {
    let nothing = Fixture::read(&Source::find(Path::new("/nowhere/at-all"))).unwrap_err();
    let line = nothing.to_string();
    assert!(line.starts_with("fixture at-all: users.json: /nowhere/at-all/users.json: "), "{line}");
    let bad = Fixture::read(&Source::find(Path::new("Bad Name"))).unwrap_err().to_string();
    assert_eq!(bad, "fixture Bad Name: its name: must be 1 to 32 of a-z, 0-9 and '-'");
}
