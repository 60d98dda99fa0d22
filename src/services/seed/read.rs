//! A fixture read from its files, and checked.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check;
use super::fixture::{Fixture, FixtureError, Problem};
use super::reference::is_name;
use super::source::Source;

impl Fixture {
    /// Reads and checks a fixture.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(source: &Source) -> Result<Self, FixtureError> {
        let name = source.name();
        let wrong = |place: String, problem: String| FixtureError {
            fixture: name.to_owned(),
            place,
            problem,
        };
        if !is_name(name) {
            return Err(wrong("its name".into(), "must be 1 to 32 of a-z, 0-9 and '-'".into()));
        }
        let located = |(place, problem)| wrong(place, problem);
        let mut fixture = Self {
            name: name.to_owned(),
            users: entries(source, "users.json").map_err(located)?,
            attachments: entries(source, "attachments.json").map_err(located)?,
            friendships: entries(source, "friendships.json").map_err(located)?,
            groups: entries(source, "groups.json").map_err(located)?,
            conversations: entries(source, "conversations.json").map_err(located)?,
            files: BTreeMap::new(),
        };
        check::check(&fixture).map_err(located)?;
        for entry in &fixture.attachments {
            let path = format!("files/{}", entry.file);
            let bytes = source.read(&path).map_err(|problem| wrong(path, problem))?;
            fixture.files.insert(entry.file.clone(), bytes);
        }
        Ok(fixture)
    }
}

/// The entries of one file.
fn entries<T: DeserializeOwned>(source: &Source, file: &str) -> Result<Vec<T>, Problem> {
    let at = |problem: String| (file.to_owned(), problem);
    let bytes = source.read(file).map_err(at)?;
    let values: Vec<Value> = serde_json::from_slice(&bytes).map_err(|e| at(e.to_string()))?;
    values.into_iter().enumerate().map(|(n, value)| entry(value, file, n + 1)).collect()
}

fn entry<T: DeserializeOwned>(value: Value, file: &str, n: usize) -> Result<T, Problem> {
    let place = match value.get("id").and_then(Value::as_str) {
        Some(id) => format!("{file}, {id}"),
        None => format!("{file}, entry {n}"),
    };
    serde_path_to_error::deserialize(value).map_err(|error| (place, error.to_string()))
}
