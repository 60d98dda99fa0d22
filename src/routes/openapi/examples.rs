//! Examples of whole schemas, made from those of their parts.

use serde_json::{Map, Value, json};

/// Reads schemas by name.
pub(in crate::routes) struct Examples<'a> {
    /// `components.schemas`.
    pub schemas: &'a Map<String, Value>,
}

impl Examples<'_> {
    /// An example of this schema. What an object's own example names comes before those of its
    /// fields; what may be null and has no example is null.
    pub(in crate::routes) fn of(&self, schema: &Value) -> Value {
        let made = self.made(schema);
        match (made, own(schema)) {
            (Value::Object(mut made), Some(Value::Object(own))) => {
                made.extend(own.clone());
                Value::Object(made)
            }
            (_, Some(own)) => own.clone(),
            (made, None) => made,
        }
    }

    fn made(&self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.schemas.get(name).map_or(Value::Null, |schema| self.of(schema));
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().filter_map(|part| self.of(part).as_object().cloned());
            return Value::Object(parts.flatten().collect());
        }
        if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            return value.clone();
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema),
            Some("array") => json!([self.of(&schema["items"])]),
            Some("integer" | "number") => schema.get("default").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(false),
            Some("string") => json!("string"),
            // Of several types, null among them.
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let fields = schema["properties"].as_object().into_iter().flatten();
        fields.map(|(name, field)| (name.clone(), self.of(field))).collect()
    }
}

fn own(schema: &Value) -> Option<&Value> {
    schema.get("example").or_else(|| schema["examples"].get(0))
}
