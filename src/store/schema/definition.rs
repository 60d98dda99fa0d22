//! The files of `indexes/`, embedded, and the collections that they stand for.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};
use mongodb::bson::{Bson, Document};
use serde::Deserialize;

use super::step::Step;

macro_rules! embed {
    ($($file:literal),* $(,)?) => {
        /// Every definition: its file's name and text (MongoDB Extended JSON v2).
        const FILES: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../../indexes/", $file)))),*];
    };
}
embed!(
    "attachment_uses.json",
    "attachments.json",
    "conversations.json",
    "deletions.json",
    "devices.json",
    "events.json",
    "fs.chunks.json",
    "fs.files.json",
    "groups.json",
    "held_names.json",
    "jobs.json",
    "keys.json",
    "lockouts.json",
    "members.json",
    "message_keys.json",
    "message_words.json",
    "messages.json",
    "meta.json",
    "notifications.json",
    "rate_windows.json",
    "reactions.json",
    "relations.json",
    "sends.json",
    "sessions.json",
    "tokens.json",
    "unindexed.json",
    "users.json",
);

/// One file of `indexes/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    /// Name of the collection, or, where it is `sharded`, what its numbered names begin with.
    collection: String,
    /// What a row is and how its key is made, for the reader.
    #[serde(rename = "purpose")]
    _purpose: String,
    /// Whether it stands for `messages.shards` collections: `messages_0`, `messages_1`, …
    #[serde(default)]
    sharded: bool,
    /// Options of the `create` command.
    #[serde(default)]
    options: Document,
    /// As the `createIndexes` command takes them; each has a name and a key.
    #[serde(default)]
    indexes: Vec<Document>,
    /// How it is spread behind mongos; `None` stays on one shard, as a collection must whose
    /// unique keys do not begin with the shard key.
    #[serde(default)]
    shard_key: Option<Document>,
}

/// A collection as it must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub name: String,
    pub options: Document,
    pub indexes: Vec<Document>,
    pub shard_key: Option<Document>,
}

impl Wanted {
    /// The definition of the index that this step says is missing.
    pub fn missing_index(&self, step: &Step) -> Option<Document> {
        let Step::CreateIndex { index, .. } = step else { return None };
        self.indexes.iter().find(|wanted| name_of(wanted) == index).cloned()
    }
}

/// The options that can change under data that is there, each with what its absence means.
pub(super) fn validation() -> [(&'static str, Bson); 3] {
    [
        ("validator", Bson::Document(Document::new())),
        ("validationLevel", Bson::from("strict")),
        ("validationAction", Bson::from("error")),
    ]
}

/// The name of an index.
pub(super) fn name_of(index: &Document) -> &str {
    index.get_str("name").unwrap_or_default()
}

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let parse = |(file, text): &(&str, &str)| {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("indexes/{file}: {error}"))
    };
    FILES.iter().map(parse).collect()
});

/// Every collection of a database with that many message collections.
///
/// # Panics
/// Never: a test reads each embedded file.
pub(super) fn wanted(shards: u32) -> Vec<Wanted> {
    DEFINITIONS.iter().flat_map(|definition| expand(definition, shards)).collect()
}

fn expand(definition: &Definition, shards: u32) -> Vec<Wanted> {
    let named = |name| Wanted {
        name,
        options: definition.options.clone(),
        indexes: definition.indexes.clone(),
        shard_key: definition.shard_key.clone(),
    };
    if definition.sharded {
        (0..shards).map(|n| named(format!("{}_{n}", definition.collection))).collect()
    } else {
        vec![named(definition.collection.clone())]
    }
}

/// SHA-256 over all definitions: what a database was last brought up to date with.
pub(super) fn fingerprint() -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for (file, text) in FILES {
        context.update(file.as_bytes());
        context.update(text.as_bytes());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/indexes");
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut there: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        there.sort();
        let embedded: Vec<_> = FILES.iter().map(|(file, _)| *file).collect();
        assert_eq!(there, embedded);
    }

    #[test]
    fn every_file_defines_what_it_is_called_after() {
        for ((file, _), definition) in FILES.iter().zip(DEFINITIONS.iter()) {
            assert_eq!(*file, format!("{}.json", definition.collection));
            let mut names: Vec<_> = definition.indexes.iter().map(name_of).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), definition.indexes.len(), "{file}: index names are unique");
            assert!(!names.contains(&""), "{file}: every index has a name");
            for index in &definition.indexes {
                assert!(!index.get_document("key").unwrap().is_empty(), "{file}: {index}");
            }
        }
    }

    #[test]
    fn keys_keep_their_order() {
        let wanted = wanted(1);
        let members = wanted.iter().find(|wanted| wanted.name == "members").unwrap();
        let user = members.indexes.iter().find(|index| name_of(index) == "user_id").unwrap();
        let keys: Vec<_> = user.get_document("key").unwrap().keys().collect();
        assert_eq!(keys, ["user_id", "kind", "conversation_id"]);
    }

    #[test]
    fn message_shards_are_numbered() {
        let names: Vec<_> = wanted(3).into_iter().map(|wanted| wanted.name).collect();
        for n in 0..3 {
            assert!(names.contains(&format!("messages_{n}")));
        }
        assert_eq!(names.iter().filter(|name| name.starts_with("messages")).count(), 3);
    }
}
