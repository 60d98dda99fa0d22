//! The direction of dependencies: `main → app → {server, routes → realtime} → filters → services →
//! jobs → {store, cache, bus, mail} → domain`. Nothing points back, and some crates stay where
//! they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors of the house, top first. Rooms on one floor may not lean on each other, but for the
/// first two, which put everything together.
const FLOORS: [&[&str]; 9] = [
    &["main", "lib"],
    &["app", "check", "cli", "healthcheck"],
    // The library exports the documents of `routes` under their own names.
    &["server", "routes", "openapi", "asyncapi"],
    &["realtime"],
    &["filters"],
    &["services"],
    &["jobs"],
    &["store", "cache", "bus", "mail"],
    &["domain"],
];

/// What every floor stands on; it may know the domain and itself.
const GROUND: [&str; 8] =
    ["error", "config", "telemetry", "lifecycle", "failpoint", "metrics", "fuzzing", "admission"];

/// Crates that only some modules may name.
const CONFINED: [(&[&str], &[&str]); 5] = [
    (&["warp"], &["filters", "routes", "realtime", "server"]),
    (&["mongodb", "bson"], &["store"]),
    (&["redis", "bb8", "bb8_redis"], &["cache", "bus"]),
    (&["lettre"], &["mail", "config"]),
    (&["prometheus"], &["metrics"]),
];

/// Which floor a module is on; the ground is below the last.
fn floor(module: &str) -> Option<usize> {
    let ground = GROUND.contains(&module).then_some(FLOORS.len());
    FLOORS.iter().position(|rooms| rooms.contains(&module)).or(ground)
}

fn may_use(from: &str, to: &str) -> bool {
    let (Some(above), Some(below)) = (floor(from), floor(to)) else {
        return from == to;
    };
    let puts_together = above <= 1 && below >= above;
    let by_ground = above == FLOORS.len() && (to == "domain" || below == above);
    from == to || puts_together || by_ground || (above < below && above < FLOORS.len())
}

/// The names right after each `prefix::` in some code, those of a `{…}` list included.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let pattern = format!("{prefix}::");
    for (at, _) in code.match_indices(&pattern) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
            continue;
        }
        let rest = &code[at + pattern.len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(heads(list)),
            None => names.extend(identifier(rest)),
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first name of each item of a `use` list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut is_head, mut names) = (0_u32, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => is_head = true,
            _ if is_head && !c.is_whitespace() => {
                names.extend(identifier(&list[at..]));
                is_head = false;
            }
            _ => {}
        }
    }
    names
}

/// Code without its comments.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether some code names this crate: by a path that begins with it, or by importing it.
fn names_crate(code: &str, name: &str) -> bool {
    !named_after(code, name).is_empty()
        || code.contains(&format!("use {name};"))
        || code.contains(&format!("use {name} as"))
}

/// What is wrong with a file of this module (`src/<module>.rs` or `src/<module>/…`), which is so
/// many modules deep.
fn violations(module: &str, depth: usize, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut used = named_after(&code, "crate");
    used.extend(named_after(&code, "natter"));
    // Enough `super`s lead to the root, too.
    let climbed =
        (depth..depth + 2).flat_map(|ups| named_after(&code, &vec!["super"; ups].join("::")));
    used.extend(climbed.filter(|name| floor(name).is_some()));
    let mut found = Vec::new();
    for name in used.iter().filter(|name| name.chars().next().is_some_and(char::is_lowercase)) {
        if !may_use(module, name) {
            found.push(format!("{module} → {name}"));
        }
    }
    for (crates, homes) in CONFINED {
        let named =
            crates.iter().filter(|name| !homes.contains(&module) && names_crate(&code, name));
        found.extend(named.map(|name| format!("{module} uses {name}")));
    }
    found
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn no_arrow_points_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 50, "only {} files found", files.len());
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below src").with_extension("");
        let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
        assert!(floor(names[0]).is_some(), "{} is on no floor", names[0]);
        let text = std::fs::read_to_string(&file).expect("a source file");
        let wrong = violations(names[0], names.len(), &text).into_iter();
        found.extend(wrong.map(|wrong| format!("{}: {wrong}", path.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_arrow_that_points_back_is_found() {
    let wrong = |module, text| violations(module, 2, text);
    assert_eq!(wrong("services", "use crate::filters::body;"), ["services → filters"]);
    assert_eq!(wrong("domain", "let e = crate::services::Services::new();"), ["domain → services"]);
    assert_eq!(
        wrong("cache", "use crate::{\n    domain::{ids, clock::Clock},\n    store::Store,\n};"),
        ["cache → store"]
    );
    assert_eq!(wrong("realtime", "use crate::routes::table;"), ["realtime → routes"]);
    assert_eq!(wrong("bus", "use crate::cache::Redis;"), ["bus → cache"]);
    assert_eq!(wrong("store", "use super::super::cache::Redis;"), ["store → cache"]);
    assert_eq!(wrong("filters", "use crate::nowhere::X;"), ["filters → nowhere"]);
    assert_eq!(wrong("config", "use crate::cache::Redis;"), ["config → cache"]);
    assert_eq!(wrong("services", "use warp::Filter;"), ["services uses warp"]);
    assert_eq!(wrong("routes", "fn f(d: mongodb::bson::Document) {}"), ["routes uses mongodb"]);
    assert_eq!(
        wrong("filters", "use bb8_redis::RedisConnectionManager;"),
        ["filters uses bb8_redis"]
    );
}

#[test]
fn arrows_that_point_down_are_not() {
    for (module, text) in [
        ("app", "use crate::{cli, config::Settings, store::Store};"),
        ("routes", "use crate::filters::guards::Guards;\nuse warp::Filter;"),
        ("routes", "use crate::realtime::Realtime;"),
        ("services", "use crate::cache::Redis; // crate::routes is above\nuse super::tokens;"),
        ("store", "use mongodb::bson::doc;\nuse super::bson::binary;"),
        ("cache", "use redis::Cmd;\nuse crate::domain::{ids::UserId, page::Page};"),
        ("lifecycle", "use crate::error::Error;"),
        ("domain", "use crate::error::Error;\nuse crate::Result;"),
    ] {
        assert_eq!(violations(module, 2, text), Vec::<String>::new());
    }
}

/// Whether some code makes an error about a rule: one that says what a caller did wrong.
fn rule_errors(code: &str, made_by_domain: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = named_after(code, "Error");
    let neutral =
        ["from", "unavailable", "internal", "timed_out", "with_source", "source", "custom"];
    found.retain(|name| name.starts_with(char::is_lowercase) && !neutral.contains(&name.as_str()));
    let calls = |name: &&String| {
        code.match_indices(name.as_str()).any(|(at, _)| {
            let before = code[..at]
                .chars()
                .next_back()
                .is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '.');
            let after = code[at + name.len()..].chars().next();
            before && after.is_some_and(|c| matches!(c, '(' | ')' | ';' | ','))
        })
    };
    found.extend(made_by_domain.iter().filter(calls).cloned());
    found
}

/// The functions of some code that make an error.
fn error_makers(code: &str) -> BTreeSet<String> {
    let functions = code.split("pub fn ").skip(1);
    let makers = functions.filter(|text| {
        let signature = text.split_once('{').map_or(*text, |(signature, _)| signature);
        signature.trim_end().ends_with("-> Error")
    });
    makers.filter_map(identifier).collect()
}

#[test]
fn no_rule_error_is_made_below_the_services() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read =
        |file: &PathBuf| without_comments(&std::fs::read_to_string(file).expect("a source file"));
    let makers: BTreeSet<String> =
        sources(&root.join("domain")).iter().flat_map(|file| error_makers(&read(file))).collect();
    assert!(makers.contains("username_taken"), "{makers:?}");
    let mut found = BTreeMap::new();
    for room in ["store", "jobs", "cache", "bus", "mail"] {
        for file in sources(&root.join(room)) {
            let made = rule_errors(&read(&file), &makers);
            if !made.is_empty() {
                found.insert(file.strip_prefix(&root).expect("below src").to_owned(), made);
            }
        }
    }
    assert_eq!(found, BTreeMap::new(), "rules belong to services");
}

#[test]
fn an_error_about_a_rule_is_found() {
    let makers = error_makers("pub fn full() -> Error {\n}\npub fn all() -> Result<Error> {}");
    assert_eq!(makers, BTreeSet::from(["full".to_owned()]));
    let found = |code| rule_errors(code, &makers).into_iter().collect::<Vec<_>>();
    assert_eq!(found("Err(Error::limited(code, wait))"), ["limited"]);
    assert_eq!(found("own.ok_or_else(Error::not_found)?"), ["not_found"]);
    assert_eq!(found("return Err(full());"), ["full"]);
    assert_eq!(found("count.ok_or_else(full)?"), ["full"]);
    let neutral =
        "Error::internal(e); Error::unavailable(); map_err(Error::from); is_full(); queue.full()";
    assert_eq!(found(neutral), Vec::<String>::new());
}

/// The collections that some code opens by their names: in a call, as a constant, or as a row
/// module of the table of rows.
fn opened_in(code: &str) -> BTreeSet<String> {
    let literal = |rest: &str| rest.split_once('"').map(|(name, _)| name.to_owned());
    let mut found = BTreeSet::new();
    for opening in ["collection", "table"] {
        for (at, _) in code.match_indices(opening) {
            let rest = &code[at + opening.len()..];
            let rest = rest.strip_prefix("::<").and_then(|it| it.split_once(">(")).map_or_else(
                || rest.strip_prefix('(').unwrap_or_default(),
                |(_, arguments)| arguments,
            );
            found.extend(rest.strip_prefix('"').and_then(literal));
        }
    }
    let constants = code.split(": &str = \"").skip(1);
    found.extend(constants.filter_map(literal));
    if let Some((_, list)) = code.split_once("\nrows! {") {
        let list = list.split_once("\n}").map_or(list, |(list, _)| list);
        let rows = list.lines().filter_map(|line| line.trim().split_once(": "));
        found.extend(rows.map(|(name, _)| name.to_owned()));
    }
    found
}

#[test]
fn one_place_opens_a_collection() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let defined = std::fs::read_dir(root.join("indexes")).expect("the definitions");
    let defined = defined.map(|entry| entry.expect("an entry").path());
    let mut opened: BTreeMap<String, Vec<String>> = defined
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), Vec::new())))
        .collect();
    let collections = root.join("src/store");
    for file in sources(&collections) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let path = file.strip_prefix(&collections).expect("below").display().to_string();
        for name in opened_in(&without_comments(&text)) {
            opened.entry(name).and_modify(|places| places.push(path.clone()));
        }
    }
    assert_eq!(opened["members"], ["rows.rs"]);
    opened.retain(|_, places| places.len() > 1);
    assert_eq!(opened, BTreeMap::new(), "opened in more than one place");
}

#[test]
fn what_opens_a_collection_is_found() {
    let found = |code| opened_in(code).into_iter().collect::<Vec<_>>();
    assert_eq!(found("store.collection(\"users\")"), ["users"]);
    assert_eq!(found("tx.table::<Key<'_>>(\"users\")"), ["users"]);
    assert_eq!(found("const FILES: &str = \"attachments\";"), ["attachments"]);
    assert_eq!(
        found("\nrows! {\n    /// x\n    members: Members;\n    users: Users;\n}\n"),
        ["members", "users"]
    );
    assert_eq!(found("store.collection(META)"), Vec::<String>::new());
}
