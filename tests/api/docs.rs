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
    let table = natter::internals::table();
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

/// Every `fn` that the sources of a directory define.
fn functions(directory: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if let Ok(source) = std::fs::read_to_string(&path) {
            let names = source.split("fn ").skip(1);
            let names = names.filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_attack_names_a_test_that_exists() {
    let mut known = BTreeSet::new();
    for directory in ["src", "tests"] {
        functions(std::path::Path::new(directory), &mut known);
    }
    let table = include_str!("../../docs/security.md");
    let mut names_tests = false;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        if row.starts_with("| attack |") {
            names_tests = row.contains("| defence |");
            continue;
        }
        if !names_tests {
            continue;
        }
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let tests: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or_default();
            assert!(known.contains(name), "no such test: {test}");
        }
    }
}
