//! `components.schemas`: the types that answers and inputs are made of.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::examples::Examples;
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId, SessionId, UserId};
use crate::error::FieldError;
use crate::filters::problem::Problem;

/// Named schemas that others refer to, as they are met.
#[derive(Debug, Default)]
pub(in crate::routes) struct Parts(Vec<(String, Value)>);

impl Parts {
    /// Keeps the schemas that this type is made of, and gives its own.
    pub(super) fn inline<T: ToSchema>(&mut self) -> Value {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        self.0.extend(parts.iter().map(|(name, schema)| (name.clone(), value_of(schema))));
        value_of(&T::schema())
    }

    /// Keeps this type's schema under its name, and refers to it.
    pub(in crate::routes) fn refer<T: ToSchema>(&mut self) -> Value {
        let (name, schema) = (T::name().into_owned(), self.inline::<T>());
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        self.0.push((name, schema));
        reference
    }
}

pub(super) fn value_of(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// Every schema that the routes refer to.
pub(super) fn all(parts: &[&Parts]) -> Map<String, Value> {
    let mut always = Parts::default();
    always.refer::<Problem>();
    always.refer::<FieldError>();
    always.refer::<AttachmentId>();
    always.refer::<ConversationId>();
    always.refer::<GroupId>();
    always.refer::<MessageId>();
    always.refer::<SessionId>();
    always.refer::<UserId>();
    components(std::iter::once(&always).chain(parts.iter().copied()))
}

/// These schemas by name, complete with examples.
///
/// # Panics
/// When two types that differ have one name: `#[schema(as = …)]` tells them apart.
pub(in crate::routes) fn components<'a>(
    parts: impl Iterator<Item = &'a Parts>,
) -> Map<String, Value> {
    let mut schemas: Map<String, Value> = Map::new();
    for (name, schema) in parts.flat_map(|parts| &parts.0) {
        let mut schema = schema.clone();
        if name != "Problem" {
            complete(&mut schema);
        }
        let before = schemas.insert(name.clone(), schema);
        let same = before.is_none_or(|before| before == schemas[name]);
        assert!(same, "two types that differ are called {name}");
    }
    let examples = Examples { schemas: &schemas };
    let made: Vec<Value> = schemas.values().map(|schema| examples.of(schema)).collect();
    for (schema, example) in schemas.values_mut().zip(made) {
        if let Value::Object(schema) = schema {
            schema.remove("example");
            schema.insert("examples".to_owned(), json!([example]));
        }
    }
    schemas.values_mut().for_each(modern);
    schemas
}

/// In answers every field is present: what may be absent in Rust is null in JSON.
pub(super) fn complete(schema: &mut Value) {
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(complete);
    }
    let fields = schema["properties"].as_object();
    let names: Option<Vec<String>> = fields.map(|fields| fields.keys().cloned().collect());
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        schema["required"] = json!(names);
    }
}

/// `examples`, as JSON Schema 2020-12 has it, for `example`, which OpenAPI 3.1 retires.
pub(super) fn modern(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // A field of an object may be called so too; then it is a schema.
            let example = object.get("example").filter(|value| !value.is_object()).cloned();
            if let Some(example) = example.filter(|_| object.contains_key("type")) {
                object.remove("example");
                object.insert("examples".to_owned(), json!([example]));
            }
            let examples = object.remove("examples");
            object.values_mut().for_each(modern);
            object.extend(examples.map(|examples| ("examples".to_owned(), examples)));
        }
        Value::Array(parts) => parts.iter_mut().for_each(modern),
        _ => {}
    }
}
