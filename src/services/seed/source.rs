//! Where a fixture comes from: this binary, or a directory.

use std::path::{Path, PathBuf};

/// The files of a fixture.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Embedded(&'static [(&'static str, &'static [u8])]),
    Directory(PathBuf),
}

macro_rules! embed {
    ($fixture:literal: $($file:literal),* $(,)?) => {
        &[$((
            $file,
            include_bytes!(concat!("../../../fixtures/", $fixture, "/", $file)).as_slice(),
        )),*]
    };
}

/// `fixtures/demo`, so that `natter seed demo` works wherever the binary is.
const DEMO: &[(&str, &[u8])] = embed!(
    "demo":
    "attachments.json",
    "conversations.json",
    "files/ada.jpg",
    "files/engine.png",
    "files/orbit.webp",
    "friendships.json",
    "groups.json",
    "users.json",
);

impl Source {
    /// `demo` is the one in this binary; anything else is a directory, whose name is the
    /// fixture's.
    #[must_use]
    pub fn find(fixture: &Path) -> Self {
        if fixture == Path::new("demo") {
            return Self { name: "demo".to_owned(), place: Place::Embedded(DEMO) };
        }
        let name = fixture.file_name().unwrap_or(fixture.as_os_str());
        Self {
            name: name.to_string_lossy().into_owned(),
            place: Place::Directory(fixture.to_owned()),
        }
    }

    /// What the fixture is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of one of its files, or why there are none.
    pub(super) fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::Embedded(files) => files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or_else(|| "is not there".to_owned()),
            Place::Directory(directory) => {
                let path = directory.join(file);
                std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_demo_is_embedded() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/demo"));
        let files = |directory: &Path, prefix: &str| {
            let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            let name = |entry: std::fs::DirEntry| {
                format!("{prefix}{}", entry.file_name().into_string().unwrap())
            };
            files.map(name).collect::<Vec<_>>()
        };
        let mut there = files(root, "");
        there.extend(files(&root.join("files"), "files/"));
        there.sort();
        assert_eq!(there, DEMO.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
