//! Where a database differs from the definitions.

use mongodb::bson::{Bson, Document};

use super::definition::{Wanted, name_of, validation};
use super::found::{Existing, Found, Topology};
use super::step::Step;

/// All differences, in the order of the definitions; what is unknown comes last.
pub(super) fn differences(wanted: &[Wanted], found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    for wanted in wanted {
        let collection = wanted.name.clone();
        match found.collections.get(&wanted.name) {
            None => {
                steps.push(Step::CreateCollection { collection });
                steps.extend(wanted.indexes.iter().map(|index| missing(wanted, index)));
            }
            Some(existing) => {
                steps.extend(options(wanted, existing));
                steps.extend(indexes(wanted, existing));
            }
        }
        if found.topology == Topology::Sharded {
            let existing = found.collections.get(&wanted.name);
            steps.extend(shard_key(wanted, existing.and_then(|e| e.shard_key.as_ref())));
        }
    }
    let known = |name: &String| wanted.iter().any(|wanted| wanted.name == *name);
    let unknown = found.collections.keys().filter(|name| !known(name));
    steps.extend(unknown.map(|name| Step::Unknown { what: format!("collection {name}") }));
    steps
}

fn missing(wanted: &Wanted, index: &Document) -> Step {
    Step::CreateIndex { collection: wanted.name.clone(), index: name_of(index).to_owned() }
}

fn differs(wanted: &Wanted, what: String, is: Option<&Bson>, should: Option<&Bson>) -> Step {
    let text = |value: Option<&Bson>| value.map_or_else(|| "absent".into(), ToString::to_string);
    Step::Differs { collection: wanted.name.clone(), what, found: text(is), wanted: text(should) }
}

fn options(wanted: &Wanted, existing: &Existing) -> Vec<Step> {
    let (should, is) = (&wanted.options, &existing.options);
    let mut steps = Vec::new();
    for (option, default) in validation() {
        let value = |options: &Document| options.get(option).unwrap_or(&default).clone();
        let (should, is) = (value(should), value(is));
        if !alike(Some(&should), Some(&is)) {
            let (collection, option) = (wanted.name.clone(), option.to_owned());
            let (found, wanted) = (is.to_string(), should.to_string());
            steps.push(Step::Change { collection, option, found, wanted });
        }
    }
    let fixed = |key: &&String| validation().iter().all(|(option, _)| option != *key);
    let added = is.keys().filter(|key| !should.contains_key(key));
    let differing = should.keys().chain(added).filter(fixed);
    let differing = differing.filter(|key| !alike(should.get(key), is.get(key)));
    steps.extend(differing.map(|key| differs(wanted, key.clone(), is.get(key), should.get(key))));
    steps
}

fn indexes(wanted: &Wanted, existing: &Existing) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut taken = Vec::new();
    for index in &wanted.indexes {
        // Under another name it is still the same index to the server, which then takes no second.
        let same_name = existing.indexes.iter().find(|other| name_of(other) == name_of(index));
        let same_key = || existing.indexes.iter().find(|other| same_order(index, other));
        match same_name.or_else(same_key) {
            None => steps.push(missing(wanted, index)),
            Some(other) => {
                taken.push(name_of(other));
                if !(same_order(index, other) && same_fields(index, other)) {
                    let what = format!("index {}", name_of(other));
                    let (is, should) = (other.clone().into(), index.clone().into());
                    steps.push(differs(wanted, what, Some(&is), Some(&should)));
                }
            }
        }
    }
    let unknown = existing.indexes.iter().map(name_of).filter(|name| !taken.contains(name));
    steps.extend(
        unknown.map(|name| Step::Unknown { what: format!("index {name} of {}", wanted.name) }),
    );
    steps
}

fn shard_key(wanted: &Wanted, is: Option<&Document>) -> Option<Step> {
    let should = wanted.shard_key.as_ref();
    match (should, is) {
        (Some(_), None) => Some(Step::Shard { collection: wanted.name.clone() }),
        (Some(should), Some(is)) if in_order(should, is) => None,
        (None, None) => None,
        _ => {
            let bson = |key: Option<&Document>| key.cloned().map(Bson::from);
            let (is, should) = (bson(is), bson(should));
            Some(differs(wanted, "shard key".to_owned(), is.as_ref(), should.as_ref()))
        }
    }
}

fn same_order(one: &Document, other: &Document) -> bool {
    let key = |index: &Document| index.get_document("key").cloned().unwrap_or_default();
    in_order(&key(one), &key(other))
}

/// The same fields in the same order: what a key is.
fn in_order(one: &Document, other: &Document) -> bool {
    one.keys().eq(other.keys()) && same_fields(one, other)
}

fn same_fields(one: &Document, other: &Document) -> bool {
    one.len() == other.len() && one.iter().all(|(key, value)| alike(Some(value), other.get(key)))
}

/// Whether two values mean the same: numbers by value, since the shell makes doubles of all, and
/// the order of fields does not matter.
fn alike(one: Option<&Bson>, other: Option<&Bson>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    match (one, other) {
        (Bson::Document(one), Bson::Document(other)) => same_fields(one, other),
        (Bson::Array(one), Bson::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| alike(Some(one), Some(other)))
        }
        _ => one == other || number(one).is_some_and(|n| Some(n) == number(other)),
    }
}

/// The value of a number, none here being near the 2⁵³ from where doubles skip some.
fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
        Bson::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(*n as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mongodb::bson::doc;

    use super::*;

    fn wanted(shard_key: Option<Document>) -> Wanted {
        Wanted {
            name: "things".to_owned(),
            options: doc! { "validator": { "n": { "$gt": 1 }, "m": 2 } },
            indexes: vec![doc! { "name": "by", "key": { "a": 1, "b": -1 }, "unique": true }],
            shard_key,
        }
    }

    fn found(topology: Topology, existing: Option<Existing>) -> Found {
        let existing = existing.map(|existing| ("things".to_owned(), existing));
        Found { topology, collections: BTreeMap::from_iter(existing) }
    }

    fn lines(wanted: Wanted, found: &Found) -> Vec<String> {
        differences(&[wanted], found).iter().map(ToString::to_string).collect()
    }

    fn same() -> Existing {
        Existing {
            options: doc! { "validator": { "m": 2.0, "n": { "$gt": 1_i64 } } },
            indexes: vec![doc! { "key": { "a": 1.0, "b": -1.0 }, "name": "by", "unique": true }],
            shard_key: None,
        }
    }

    #[test]
    fn numbers_and_order_of_fields_do_not_differ() {
        let found = found(Topology::ReplicaSet, Some(same()));
        assert_eq!(lines(wanted(None), &found), [""; 0]);
        // On a replica set nothing is spread.
        assert_eq!(lines(wanted(Some(doc! { "_id": 1 })), &found), [""; 0]);
    }

    #[test]
    fn the_order_of_a_key_does() {
        let turned = doc! { "name": "by", "key": { "b": -1, "a": 1 }, "unique": true };
        let existing = Existing { indexes: vec![turned], ..same() };
        let found = found(Topology::ReplicaSet, Some(existing));
        let lines = lines(wanted(None), &found);
        assert!(lines[0].starts_with("leave alone index by of things, which differs"), "{lines:?}");
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn options_on_one_side_only_differ() {
        let existing = Existing { options: doc! { "capped": true }, ..same() };
        let lines = lines(wanted(None), &found(Topology::ReplicaSet, Some(existing)));
        assert!(lines[0].starts_with("change validator of things: is {"), "{lines:?}");
        assert!(lines[1].contains("capped of things") && lines[1].ends_with("defined as absent"));
    }

    #[test]
    fn an_absent_option_is_its_default() {
        let mut options = same().options;
        options.extend(doc! { "validationLevel": "strict", "validationAction": "error" });
        let existing = Existing { options: options.clone(), ..same() };
        let found_with = |existing| found(Topology::ReplicaSet, Some(existing));
        assert_eq!(lines(wanted(None), &found_with(existing)), [""; 0]);
        options.insert("validationAction", "warn");
        let existing = Existing { options, ..same() };
        let line = r#"change validationAction of things: is "warn", defined as "error""#;
        assert_eq!(lines(wanted(None), &found_with(existing)), [line]);
    }

    #[test]
    fn behind_mongos_collections_are_spread() {
        let key = || Some(doc! { "_id": 1 });
        let nothing = found(Topology::Sharded, None);
        let all =
            ["create collection things", "create index by of things", "shard collection things"];
        assert_eq!(lines(wanted(key()), &nothing), all);
        let unspread = found(Topology::Sharded, Some(same()));
        assert_eq!(lines(wanted(key()), &unspread), ["shard collection things"]);
        let spread = |shard_key| {
            found(Topology::Sharded, Some(Existing { shard_key: Some(shard_key), ..same() }))
        };
        assert_eq!(lines(wanted(key()), &spread(doc! { "_id": 1.0 })), [""; 0]);
        let hashed = lines(wanted(key()), &spread(doc! { "_id": "hashed" }));
        assert!(hashed[0].starts_with("leave alone shard key of things, which differs"));
        let alone = lines(wanted(None), &spread(doc! { "_id": 1 }));
        assert!(alone[0].starts_with("leave alone shard key of things, which differs"));
    }
}
