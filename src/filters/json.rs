//! The strict JSON reader (RFC 8259, and of RFC 7493 the rule that names are unique): objects
//! whose every wrong field is reported, not just the first.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::{Map, Value};
use validator::{Validate, ValidationErrorsKind};

use crate::error::{Error, FieldError, Result};

/// How many arrays and objects may be nested in each other, the outermost included.
const MAX_DEPTH: usize = 32;

/// Bad elements of a list that are listed: as many as any list may have. A body of ones and commas
/// would be answered by fifty times as much.
const MAX_ELEMENT_ERRORS: usize = 1000;

/// Reads an input object and checks its rules. Every field of `T` is an `Option`, so that a field
/// of the wrong type can be reported and the others still be read. `check` finds fields that break a
/// rule of this instance's settings.
///
/// # Errors
/// `malformed_json` for what is not JSON, repeats a name or nests past 32;
/// `validation_failed` with every bad field otherwise.
pub fn read_with<T: DeserializeOwned + Validate>(
    bytes: &[u8],
    check: impl FnOnce(&T) -> Vec<FieldError>,
) -> Result<T> {
    let malformed = |why: &dyn fmt::Display| {
        Error::malformed("malformed_json", format!("malformed JSON: {why}"))
    };
    std::str::from_utf8(bytes).map_err(|_| malformed(&"not valid UTF-8"))?;
    match parse(bytes).map_err(|error| malformed(&error))? {
        Value::Object(object) => from_object(object, Vec::new(), |input: &mut T| check(input)),
        _ => Err(Error::field("", "invalid_type", "body must be a JSON object")),
    }
}

/// Reads a value of any type, as strictly.
///
/// # Errors
/// For what is not JSON, repeats a name or nests past 32.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// The input of fields that were read otherwise, with what is wrong with others already;
/// `complete` adds what is no field before the rules are checked, and says what breaks rules of its
/// own.
///
/// # Errors
/// `validation_failed` with every bad field, `errors` among them.
pub fn from_object<T: DeserializeOwned + Validate>(
    mut object: Map<String, Value>,
    mut errors: Vec<FieldError>,
    complete: impl FnOnce(&mut T) -> Vec<FieldError>,
) -> Result<T> {
    let mut input: T = loop {
        let value = Value::Object(object);
        match serde_path_to_error::deserialize(&value) {
            Ok(input) => break input,
            Err(error) => {
                let path = error.path().to_string();
                let name = root(&path).to_owned();
                object = match value {
                    Value::Object(object) => object,
                    _ => Map::new(),
                };
                // Without the bad field the rest can be read; each round removes one.
                let bad = object.remove(&name);
                let is_there = bad.is_some();
                let mut wrong = match bad {
                    Some(Value::Array(items)) if path != name => wrong_elements::<T>(&name, items),
                    _ => Vec::new(),
                };
                if wrong.is_empty() {
                    wrong.push(wrong_value(path, &error.into_inner().to_string()));
                }
                errors.extend(wrong);
                if !is_there {
                    return Err(Error::fields(errors));
                }
            }
        }
    };
    let further = complete(&mut input);
    let rules = input.validate().map_err(|broken| broken_rules("", broken.errors()));
    for found in [rules.err().unwrap_or_default(), further] {
        let wrong: Vec<String> = errors.iter().map(|e| root(&e.field).to_owned()).collect();
        errors.extend(found.into_iter().filter(|e| !wrong.iter().any(|w| w == root(&e.field))));
    }
    if errors.is_empty() {
        return Ok(input);
    }
    // Elements of a list stay in its order.
    errors.sort_by(|a, b| root(&a.field).cmp(root(&b.field)));
    Err(Error::fields(errors))
}

/// Every bad element of a list, each read as if it were the only one: in one reading of all, serde
/// stops at the first.
fn wrong_elements<T: DeserializeOwned>(name: &str, items: Vec<Value>) -> Vec<FieldError> {
    let read = |(index, item)| {
        let alone = Value::Object(Map::from_iter([(name.to_owned(), Value::Array(vec![item]))]));
        let error = serde_path_to_error::deserialize::<_, T>(&alone).err()?;
        let path = error.path().to_string().replacen("[0]", &format!("[{index}]"), 1);
        Some(wrong_value(path, &error.into_inner().to_string()))
    };
    items.into_iter().enumerate().filter_map(read).take(MAX_ELEMENT_ERRORS).collect()
}

fn root(field: &str) -> &str {
    field.split(['.', '[']).next().unwrap_or_default()
}

/// What serde says of a value, without the value itself.
fn wrong_value(field: String, said: &str) -> FieldError {
    if said.starts_with("invalid type") {
        let expected = said.rsplit("expected ").next().unwrap_or("something else");
        FieldError::new(field, "invalid_type", format!("must be {expected}"))
    } else if said.starts_with("unknown variant") {
        FieldError::new(field, "unknown", "must be one of the documented values")
    } else {
        FieldError::new(field, "invalid_format", "has an invalid format")
    }
}

fn broken_rules(
    prefix: &str,
    errors: &std::collections::HashMap<Cow<'static, str>, ValidationErrorsKind>,
) -> Vec<FieldError> {
    let mut found = Vec::new();
    for (name, kind) in errors {
        let field = format!("{prefix}{name}");
        match kind {
            ValidationErrorsKind::Field(rules) => found.extend(rules.iter().map(|rule| {
                let message = rule.message.clone().unwrap_or_else(|| default_message(&rule.code));
                FieldError::new(field.clone(), rule.code.clone(), message)
            })),
            ValidationErrorsKind::Struct(inner) => {
                found.extend(broken_rules(&format!("{field}."), inner.errors()));
            }
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    found.extend(broken_rules(&format!("{field}[{index}]."), inner.errors()));
                }
            }
        }
    }
    found
}

fn default_message(code: &str) -> Cow<'static, str> {
    match code {
        "required" => "field is required".into(),
        "length" => "has an invalid length".into(),
        _ => "is invalid".into(),
    }
}

/// Builds a [`Value`], refusing repeated names and deep nesting on the way.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("duplicate field name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    fn read<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T> {
        read_with(bytes, |_| Vec::new())
    }
    use crate::domain::ids::UserId;

    #[derive(Debug, Deserialize, Validate)]
    struct Input {
        #[validate(required, length(min = 3, code = "too_short"))]
        name: Option<String>,
        #[validate(required)]
        user_id: Option<UserId>,
        tags: Option<Vec<String>>,
        count: Option<u32>,
    }

    fn fields(json: &str) -> Vec<(String, String)> {
        let error = read::<Input>(json.as_bytes()).expect_err("must be refused");
        error.field_errors().iter().map(|e| (e.field.clone(), e.code.to_string())).collect()
    }

    fn code(json: impl AsRef<[u8]>) -> &'static str {
        read::<Input>(json.as_ref()).map_or_else(|error| error.code(), |_| "ok")
    }

    #[test]
    fn unknown_fields_are_ignored_and_null_is_absent() {
        let id = UserId::random();
        let json = format!(r#"{{"name":"ada","user_id":"{id}","else":{{"x":[1]}},"count":null}}"#);
        let input: Input = read(json.as_bytes()).expect("valid");
        assert_eq!(
            (input.name.as_deref(), input.user_id, input.count),
            (Some("ada"), Some(id), None)
        );
        assert!(input.tags.is_none());
    }

    #[test]
    fn every_bad_field_is_listed_once() {
        let json = r#"{"name":{"$ne":null},"user_id":"x","tags":["a",7],"count":-1}"#;
        let expected = [
            ("count", "invalid_format"),
            ("name", "invalid_type"),
            ("tags[1]", "invalid_type"),
            ("user_id", "invalid_format"),
        ];
        assert_eq!(fields(json), expected.map(|(f, c)| (f.to_owned(), c.to_owned())));
        let json = r#"{"name":"ab","user_id":"x","tags":[0,"a",null,"b",{},["c"],1]}"#;
        let expected = [
            ("name", "too_short"),
            ("tags[0]", "invalid_type"),
            ("tags[2]", "invalid_type"),
            ("tags[4]", "invalid_type"),
            ("tags[5]", "invalid_type"),
            ("tags[6]", "invalid_type"),
            ("user_id", "invalid_format"),
        ];
        assert_eq!(fields(json), expected.map(|(f, c)| (f.to_owned(), c.to_owned())));
        let twelve: Vec<String> = (0..12).map(|n| format!("tags[{n}]")).collect();
        let ones =
            format!(r#"{{"name":"ada","user_id":"{}","tags":{:?}}}"#, UserId::random(), [1; 12]);
        assert_eq!(fields(&ones).into_iter().map(|(field, _)| field).collect::<Vec<_>>(), twelve);
        let many = format!(r#"{{"tags":[{}1]}}"#, "1,".repeat(30_000));
        assert_eq!(fields(&many).len(), MAX_ELEMENT_ERRORS + 2);
        let missing = [("name", "too_short"), ("user_id", "required")];
        assert_eq!(fields(r#"{"name":"ab"}"#), missing.map(|(f, c)| (f.to_owned(), c.to_owned())));
    }

    #[test]
    fn what_is_not_an_object_names_no_field() {
        for json in ["[]", "\"x\"", "1", "null", "true"] {
            assert_eq!(fields(json), [(String::new(), "invalid_type".to_owned())], "{json}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_malformed() {
        let deep = |n: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert_eq!(code(deep(31)), "validation_failed");
        assert_eq!(code(deep(32)), "malformed_json");
        assert_eq!(code(deep(100_000)), "malformed_json");
        for json in [
            "",
            "{",
            "{}{}",
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            r#"{"x":NaN}"#,
            r#"{"x":Infinity}"#,
            r#"{"x":1e999}"#,
            "{'x':1}",
            r#"{"x":"\ud800"}"#,
            "{\"x\":\"\n\"}",
            "{} x",
        ] {
            assert_eq!(code(json), "malformed_json", "{json}");
        }
        assert_eq!(code(b"{\"x\":\"\xff\"}"), "malformed_json");
        assert_eq!(code(b"\xef\xbb\xbf{}"), "malformed_json");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = read::<Input>(&bytes);
        }
    }

    /// The strict reader takes no more than serde does, and means the same by it.
    #[test]
    fn fuzz_json() {
        let words = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\u0000",
            "\\ud800",
            "null",
            "true",
            "1e999",
            "-0",
            "NaN",
            "{\"$ne\":null}",
            "\"a\":1,",
            "\u{feff}",
            "0.1",
            "18446744073709551616",
            "[[[[[[[[",
        ];
        crate::fuzzing::fuzz("json", &words, |input| {
            let strict = parse(input);
            let serde = serde_json::from_slice::<Value>(input);
            match (strict, serde) {
                (Ok(strict), Ok(serde)) => {
                    assert_eq!(strict, serde);
                    assert!(depth(&strict) <= MAX_DEPTH);
                }
                (Ok(strict), Err(error)) => panic!("{strict} is not JSON: {error}"),
                (Err(_), _) => {}
            }
            if let Err(error) = read::<Fuzzed>(input) {
                assert!(["malformed_json", "validation_failed"].contains(&error.code()));
            }
        });
    }

    #[derive(Debug, Deserialize, Validate)]
    struct Fuzzed {
        #[validate(required)]
        group_name: Option<String>,
        #[expect(dead_code, reason = "only read from the input")]
        members: Option<Vec<crate::domain::ids::UserId>>,
        #[expect(dead_code, reason = "only read from the input")]
        limit: Option<u8>,
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}
