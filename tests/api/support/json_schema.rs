//! As much of JSON Schema (2020-12) as the documents use, and stricter: an object has no fields but
//! those that its schema names. References lead into the document that is given.

use std::collections::BTreeSet;

use serde_json::Value;

/// Follows a reference within the document.
pub fn resolve(document: &'static Value, part: &'static Value) -> &'static Value {
    let Some(reference) = part["$ref"].as_str() else { return part };
    let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
    target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Adds to `found` what of this value is not as the schema says.
pub fn compare(
    document: &'static Value,
    schema: &'static Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    open(document, schema, value, at, found);
    let mut known = BTreeSet::new();
    fields(document, schema, &mut known);
    if known.is_empty() {
        return;
    }
    for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !known.contains(name.as_str()) {
            found.push(format!("{at}/{name} is not documented"));
        }
    }
}

/// The names of all fields that the schema or its parts speak of.
fn fields(document: &'static Value, schema: &'static Value, known: &mut BTreeSet<&'static str>) {
    let schema = resolve(document, schema);
    known.extend(schema["properties"].as_object().into_iter().flatten().map(|it| it.0.as_str()));
    for parts in ["allOf", "oneOf", "anyOf"] {
        parts_of(schema, parts).for_each(|part| fields(document, part, known));
    }
}

fn parts_of(schema: &'static Value, name: &str) -> impl Iterator<Item = &'static Value> {
    schema[name].as_array().into_iter().flatten()
}

fn open(
    document: &'static Value,
    schema: &'static Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    let beside = schema;
    let schema = resolve(document, schema);
    if !std::ptr::eq(beside, schema) {
        // What stands beside a reference holds as well.
        properties(document, beside, value, at, found);
    }
    parts_of(schema, "allOf").for_each(|part| open(document, part, value, at, found));
    for (parts, most) in [("oneOf", 1), ("anyOf", usize::MAX)] {
        let count = parts_of(schema, parts).filter(|part| agrees(document, part, value)).count();
        if schema.get(parts).is_some() && !(1..=most).contains(&count) {
            found.push(format!("{at}: {count} of {parts} fit {value}"));
        }
    }
    let types = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), |it| it);
    if schema.get("type").is_some() && !types.iter().any(|name| is(name, value)) {
        return found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    let words = schema["enum"].as_array();
    if words.is_some_and(|words| !words.contains(value))
        || schema.get("const").is_some_and(|only| only != value)
    {
        found.push(format!("{at}: {value} is none of the words"));
    }
    if !within(schema, value) {
        found.push(format!("{at}: {value} is out of range"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            found.push(format!("{at}/{name} is missing"));
        }
    }
    properties(document, schema, value, at, found);
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            compare(document, items, value, &format!("{at}/{index}"), found);
        }
    }
}

fn properties(
    document: &'static Value,
    schema: &'static Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            compare(document, field, value, &format!("{at}/{name}"), found);
        }
    }
}

fn agrees(document: &'static Value, schema: &'static Value, value: &Value) -> bool {
    let mut found = Vec::new();
    open(document, schema, value, "", &mut found);
    found.is_empty()
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn within(schema: &Value, value: &Value) -> bool {
    let (low, high, size) = match value {
        Value::Number(number) => ("minimum", "maximum", number.as_f64()),
        Value::String(text) => ("minLength", "maxLength", count(text.chars().count())),
        Value::Array(items) => ("minItems", "maxItems", count(items.len())),
        _ => return true,
    };
    let size = size.unwrap_or_default();
    schema[low].as_f64().is_none_or(|low| size >= low)
        && schema[high].as_f64().is_none_or(|high| size <= high)
}

fn count(count: usize) -> Option<f64> {
    u32::try_from(count).ok().map(f64::from)
}
