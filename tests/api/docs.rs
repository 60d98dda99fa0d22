//! The routes in the documents are the routes there are.

use std::collections::BTreeSet;

/// The routes that a document's tables list, as `GET /path`.
fn listed(document: &str) -> BTreeSet<String> {
    let first_cells = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let routes = first_cells.filter_map(|line| line.split('`').next());
    routes.filter(|route| route.contains(" /")).map(str::to_owned).collect()
}

#[test]
fn every_route_is_documented_and_no_other() {
    let table = natter::routes::table();
    let there: BTreeSet<String> =
        table.iter().map(|row| format!("{} {}", row.verb.as_str(), row.path)).collect();
    assert_eq!(there.len(), table.len(), "a row stands twice");
    assert_eq!(listed(include_str!("../../README.md")), there, "README.md");
    assert_eq!(listed(include_str!("../../docs/api.md")), there, "docs/api.md");
}

#[test]
fn every_event_is_documented() {
    let mut undocumented = BTreeSet::new();
    let mut directories = vec![std::path::PathBuf::from("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let Ok(source) = std::fs::read_to_string(&path) else { continue };
            let events =
                source.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next());
            let words = include_str!("../../docs/logging.md");
            undocumented.extend(
                events
                    .filter(|event| !words.contains(&format!("| `{event}` |")))
                    .map(str::to_owned),
            );
        }
    }
    assert_eq!(undocumented, BTreeSet::new(), "docs/logging.md");
}
