//! Puts the document together.

use serde_json::{Map, Value, json};

use super::frames::{ClientFrame, ServerFrame, since};
use crate::domain::events::FrameKind;
use crate::realtime::Close;
use crate::routes::openapi::{Examples, Parts, components};

/// Refers to a part of the document.
fn refer(path: &str) -> Value {
    json!({"$ref": format!("#/{path}")})
}

/// The name of a client's frame among the messages: `typing` goes both ways.
fn key_of(frame: &ClientFrame) -> String {
    format!("client.{}", frame.name)
}

/// Every message by its key, and the schemas that they refer to.
fn messages(
    server: &[ServerFrame],
    client: &[ClientFrame],
) -> (Map<String, Value>, Map<String, Value>) {
    let mut parts = Parts::default();
    let mut messages = Map::new();
    for frame in server {
        let kind = match frame.kind {
            FrameKind::Event(_) => "An event, which the log keeps.",
            FrameKind::SessionEnded => "The last frame.",
            FrameKind::Ready | FrameKind::Typing | FrameKind::Presence | FrameKind::Pong => {
                "It passes: no log keeps it."
            }
        };
        let payload = frame.payload(&mut parts);
        let name = frame.kind.name();
        messages.insert(name.to_owned(), message(name, frame.says, kind, &payload));
    }
    for frame in client {
        let payload = frame.payload(&mut parts);
        let message = message(frame.name, frame.says, "A frame of a client.", &payload);
        messages.insert(key_of(frame), message);
    }
    let schemas = components(std::iter::once(&parts));
    let examples = Examples { schemas: &schemas };
    for message in messages.values_mut() {
        message["examples"] = json!([{"payload": examples.of(&message["payload"])}]);
    }
    (messages, schemas)
}

pub(super) fn of(server: &[ServerFrame], client: &[ClientFrame]) -> Value {
    let (messages, schemas) = messages(server, client);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "natter",
            "version": env!("CARGO_PKG_VERSION"),
            "description": include_str!("introduction.md"),
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "sockets": instance("wss", "WebSockets (RFC 6455), over HTTP/1.1."),
            "streams": instance("https", "Server-sent events."),
        },
        "channels": {"ws": socket(server, client), "events": stream(server)},
        "operations": operations(server, client),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `access_token` of `POST /login` or `POST /token/refresh`. A \
                                socket may show it in its first frame, `auth`, instead.",
            }},
        },
    })
}

fn message(name: &str, summary: &str, description: &str, payload: &Value) -> Value {
    json!({
        "name": name,
        "title": name,
        "summary": summary,
        "description": description,
        "contentType": "application/json",
        "payload": payload,
    })
}

fn instance(protocol: &str, description: &str) -> Value {
    json!({
        "host": "{host}",
        "protocol": protocol,
        "description": description,
        "variables": {"host": {
            "default": "localhost:8443",
            "description": "Where the service is: the host of this document.",
        }},
        "security": [refer("components/securitySchemes/bearer")],
    })
}

/// The messages of a channel, by reference to those of the components.
fn messages_of<'a>(keys: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    keys.map(|key| (key.to_owned(), refer(&format!("components/messages/{key}")))).collect()
}

fn socket(server: &[ServerFrame], client: &[ClientFrame]) -> Value {
    let said: Vec<String> = client.iter().map(key_of).collect();
    let keys = server.iter().map(|frame| frame.kind.name()).chain(said.iter().map(String::as_str));
    let codes = Close::ALL.map(|close| {
        let (code, reason) = close.code();
        json!({"code": code, "description": reason})
    });
    json!({
        "address": "/ws",
        "title": "A socket",
        "description": "`GET /ws`. Frames are texts, a JSON object each. A bad token in the header \
                        is HTTP 401; one in a frame ends the connection with 4401.",
        "servers": [refer("servers/sockets")],
        "messages": messages_of(keys),
        "bindings": {"ws": {
            "method": "GET",
            "query": {"type": "object", "properties": {"since": since()}},
            "headers": {"type": "object", "properties": {"Authorization": {
                "type": "string",
                "description": "`Bearer` and the access token; or the frame `auth`, within 5 s.",
            }}},
            "bindingVersion": "0.1.0",
        }},
        "x-close-codes": codes,
    })
}

/// What is on a stream: it begins as a socket does, and answers nothing.
fn on_streams(server: &[ServerFrame]) -> impl Iterator<Item = &'static str> {
    let streamed = server.iter().filter(|frame| frame.kind != FrameKind::Pong);
    streamed.map(|frame| frame.kind.name())
}

fn stream(server: &[ServerFrame]) -> Value {
    json!({
        "address": "/events",
        "title": "A stream of events",
        "description": "`GET /events`: the frames of a socket as server-sent events. `event` is \
                        the type, `id` the id where there is one (of `ready` its `last_event_id`, \
                        unless what was missed follows), `data` the whole frame. The \
                        header `Last-Event-ID` is what `since` is to a socket.",
        "servers": [refer("servers/streams")],
        "messages": messages_of(on_streams(server)),
    })
}

fn operations(server: &[ServerFrame], client: &[ClientFrame]) -> Map<String, Value> {
    let within = |channel: &str, keys: &[&str]| -> Vec<Value> {
        keys.iter().map(|key| refer(&format!("channels/{channel}/messages/{key}"))).collect()
    };
    let send = |channel: &str, says: &str, keys: &[&str]| {
        json!({
            "action": "send",
            "channel": refer(&format!("channels/{channel}")),
            "summary": says,
            "messages": within(channel, keys),
        })
    };
    let all: Vec<&str> = server.iter().map(|frame| frame.kind.name()).collect();
    let streamed: Vec<&str> = on_streams(server).collect();
    let mut operations = Map::new();
    operations.insert("tell".to_owned(), send("ws", "Tells a socket what happens.", &all));
    let mut stream = send("events", "Tells a stream what happens.", &streamed);
    stream["bindings"] = json!({"http": {"method": "GET", "bindingVersion": "0.3.0"}});
    operations.insert("stream".to_owned(), stream);
    for frame in client {
        let mut operation = json!({
            "action": "receive",
            "channel": refer("channels/ws"),
            "summary": frame.says,
            "messages": within("ws", &[&key_of(frame)]),
        });
        if let Some(answer) = frame.answer {
            let messages = within("ws", &[answer]);
            operation["reply"] = json!({"channel": refer("channels/ws"), "messages": messages});
        }
        operations.insert(frame.name.to_owned(), operation);
    }
    operations
}
