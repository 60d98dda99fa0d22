//! Puts the document together.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::examples::Examples;
use super::problems::{codes_of, headers, headers_of, name_of, response};
use super::route::{Answer, Parameter, Route};
use super::schemas;
use super::schemas::{complete, modern};
use crate::filters::endpoint::{Access, Body};

/// What the parameters of paths name.
const PATH_PARAMETERS: &[(&str, &str, &str)] = &[
    ("attachment_id", "AttachmentId", "The attachment."),
    ("conversation_id", "ConversationId", "The conversation."),
    ("group_id", "GroupId", "The group."),
    ("message_id", "MessageId", "The message."),
    ("session_id", "SessionId", "The session."),
    ("user_id", "UserId", "The user."),
];

pub(super) fn of(tags: &[(&str, &str)], routes: &[Route]) -> Value {
    let parts: Vec<_> = routes.iter().map(|route| &route.schemas).collect();
    let mut builder = Builder { schemas: schemas::all(&parts), responses: Map::new() };
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = builder.operation(route);
        let path = paths.entry(route.endpoint.path).or_insert_with(|| json!({}));
        path[route.endpoint.verb.as_str().to_ascii_lowercase()] = operation;
    }
    let tags: Vec<Value> = tags
        .iter()
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "natter",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": include_str!("introduction.md"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/", "description": "The service that answers with this document."}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `access_token` of `POST /login` or `POST /token/refresh`.",
            }},
            "headers": headers(),
            "responses": builder.responses,
            "schemas": builder.schemas,
        },
    })
}

struct Builder {
    schemas: Map<String, Value>,
    responses: Map<String, Value>,
}

impl Builder {
    fn operation(&mut self, route: &Route) -> Value {
        let row = &route.endpoint;
        let mut operation = json!({
            "operationId": route.id,
            "tags": [route.tag],
            "summary": route.summary,
            "description": route.description,
            "security": match row.access {
                Access::Public => json!([]),
                Access::Bearer => json!([{"bearer": []}]),
                Access::OptionalBearer => json!([{}, {"bearer": []}]),
            },
            "parameters": self.parameters(route),
            "responses": self.responses(route),
        });
        if let Some(class) = row.class {
            operation["x-rate-limit-class"] = json!(class.name());
        }
        if let Some(input) = &route.input {
            operation["requestBody"] = self.body(route, input);
        }
        operation
    }

    fn parameters(&self, route: &Route) -> Vec<Value> {
        let names = route.endpoint.path.split('/').filter_map(|segment| {
            segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'))
        });
        let in_path = names.map(|name| self.path_parameter(name));
        let others = route.parameters.iter().map(|parameter| {
            let Parameter { place, name, required, description, schema } = parameter;
            json!({
                "name": name,
                "in": place,
                "required": required,
                "description": description,
                "schema": schema,
                "example": self.example(schema),
            })
        });
        in_path.chain(others).collect()
    }

    fn path_parameter(&self, name: &str) -> Value {
        let known = PATH_PARAMETERS.iter().find(|(known, ..)| *known == name);
        let (schema, says) = match known.and_then(|row| Some((self.schemas.get(row.1)?, row.2))) {
            Some((schema, says)) => (schema.clone(), says),
            None if name == "emoji" => {
                (json!({"type": "string", "minLength": 1, "examples": ["👍"]}), "One emoji.")
            }
            None => (json!({"type": "string", "format": "uuid"}), ""),
        };
        let example = self.example(&schema);
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": says,
            "schema": schema,
            "example": example,
        })
    }

    fn body(&self, route: &Route, input: &Value) -> Value {
        let (example, mut schema) = (self.example(input), input.clone());
        modern(&mut schema);
        let content = json!({"schema": schema, "example": example});
        let (says, content) = match route.endpoint.body {
            Body::Json { limit } => {
                (format!("At most {limit} bytes."), json!({"application/json": content}))
            }
            Body::JsonOrMultipart { limit, .. } => {
                let mut form = content.clone();
                form["schema"]["properties"]["file"] = files();
                let says = format!("At most {limit} bytes; as a form (RFC 7578), and the files.");
                (says, json!({"application/json": content, "multipart/form-data": form}))
            }
            Body::None | Body::Multipart => {
                let says = "A form (RFC 7578).".to_owned();
                (says, json!({"multipart/form-data": content}))
            }
        };
        json!({"required": true, "description": says, "content": content})
    }

    fn responses(&mut self, route: &Route) -> Value {
        let limited = route.endpoint.class.is_some();
        let mut responses: BTreeMap<String, Value> = BTreeMap::new();
        for (status, codes) in codes_of(route) {
            let name = name_of(status, &codes, limited);
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            self.responses.entry(name).or_insert_with(|| response(status, &codes, limited));
            responses.insert(status.to_string(), reference);
        }
        for answer in &route.answers {
            responses.insert(answer.status.to_string(), self.answer(answer, limited));
        }
        json!(responses)
    }

    fn answer(&self, answer: &Answer, limited: bool) -> Value {
        let mut headers = headers_of(answer.status, limited, false);
        for (name, says) in &answer.headers {
            headers.insert(
                (*name).to_owned(),
                json!({"description": says, "schema": {"type": "string"}}),
            );
        }
        let mut response = json!({"description": answer.description, "headers": headers});
        if let Some((media_type, schema, example)) = &answer.content {
            let mut schema = schema.clone();
            complete(&mut schema);
            let example = example.clone().unwrap_or_else(|| self.example(&schema));
            modern(&mut schema);
            let content = json!({"schema": schema, "example": example});
            response["content"] = json!({*media_type: content.clone()});
            if media_type.contains('*') {
                // Generators of clients know no ranges of media types.
                response["content"]["application/octet-stream"] = content;
            }
        }
        response
    }

    fn example(&self, schema: &Value) -> Value {
        Examples { schemas: &self.schemas }.of(schema)
    }
}

/// The parts of a form that are files beside its fields.
fn files() -> Value {
    json!({
        "type": "array",
        "maxItems": 10,
        "description": "Files, together up to 5 MiB.",
        "items": {"type": "string", "format": "binary", "minLength": 1},
    })
}
