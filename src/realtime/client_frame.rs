//! Frames of clients.

use serde_json::{Map, Value};

use crate::domain::ids::ConversationId;
use crate::filters::json::parse;

/// A frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// An access token, and the last event that the client has.
    Auth {
        /// The access token.
        token: String,
        /// The last event id that it has.
        since: Option<String>,
    },
    /// The client asks for a pong.
    Ping,
    /// The user is typing.
    Typing(ConversationId),
    /// The client has the messages up to this number.
    Delivered(ConversationId, u64),
    /// A frame to ignore: another type, or an invalid id.
    Other,
}

/// The frame is not JSON, not an object, or has fields of wrong types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl ClientFrame {
    /// Reads a frame.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let value = parse(text.as_bytes()).map_err(|_| Malformed)?;
        let Value::Object(fields) = value else { return Err(Malformed) };
        match text_of(&fields, "type")?.ok_or(Malformed)? {
            "auth" => {
                let token = text_of(&fields, "token")?.ok_or(Malformed)?.to_owned();
                Ok(Self::Auth { token, since: text_of(&fields, "since")?.map(str::to_owned) })
            }
            "ping" => Ok(Self::Ping),
            "typing" => Ok(conversation(&fields)?.map_or(Self::Other, Self::Typing)),
            "delivered" => {
                let seq = fields.get("seq").and_then(number).ok_or(Malformed)?;
                let conversation = conversation(&fields)?;
                Ok(conversation.map_or(Self::Other, |id| Self::Delivered(id, seq)))
            }
            _ => Ok(Self::Other),
        }
    }
}

fn text_of<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Malformed> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed),
    }
}

/// A whole number in any notation; `u64::MAX` for greater ones.
fn number(value: &Value) -> Option<u64> {
    let whole = |it: &f64| *it >= 0.0 && it.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|it| it as u64))
}

/// `None` for a text that is not an id.
fn conversation(fields: &Map<String, Value>) -> Result<Option<ConversationId>, Malformed> {
    Ok(text_of(fields, "conversation_id")?.ok_or(Malformed)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_objects_of_the_expected_fields() {
        let id = "0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39";
        let conversation = id.parse().expect("an id");
        let delivered = format!(r#"{{"type":"delivered","conversation_id":"{id}","seq":3}}"#);
        assert_eq!(ClientFrame::parse(&delivered), Ok(ClientFrame::Delivered(conversation, 3)));
        for (written, seq) in [("1e3", 1000), ("7.0", 7), ("99999999999999999999999", u64::MAX)] {
            let delivered = delivered.replace(":3}", &format!(":{written}}}"));
            let expected = ClientFrame::Delivered(conversation, seq);
            assert_eq!(ClientFrame::parse(&delivered), Ok(expected));
        }
        let auth = ClientFrame::Auth { token: "t".to_owned(), since: None };
        assert_eq!(ClientFrame::parse(r#"{"type":"auth","token":"t","since":null}"#), Ok(auth));
        assert_eq!(ClientFrame::parse(r#"{"type":"ping","more":1}"#), Ok(ClientFrame::Ping));
        assert_eq!(ClientFrame::parse(r#"{"type":"tomorrow"}"#), Ok(ClientFrame::Other));
        let unknown = r#"{"type":"typing","conversation_id":"x"}"#;
        assert_eq!(ClientFrame::parse(unknown), Ok(ClientFrame::Other));
        for bad in [
            "",
            "ping",
            "[]",
            "\"ping\"",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"auth"}"#,
            r#"{"type":"auth","token":{"$ne":null}}"#,
            r#"{"type":"auth","token":"t","since":1}"#,
            r#"{"type":"typing"}"#,
            r#"{"type":"delivered","conversation_id":"x"}"#,
            r#"{"type":"delivered","conversation_id":"x","seq":-1}"#,
            r#"{"type":"delivered","conversation_id":"x","seq":1.5}"#,
            r#"{"type":"delivered","conversation_id":7,"seq":1}"#,
            r#"{"type":"ping","type":"ping"}"#,
            r#"{"type":"ping","n":NaN}"#,
            r#"{"type":"ping"} "#.trim_end_matches(' ').trim_end_matches('}'),
            &format!(r#"{{"type":"ping","deep":{}{}}}"#, "[".repeat(32), "]".repeat(32)),
        ] {
            assert_eq!(ClientFrame::parse(bad), Err(Malformed), "{bad}");
        }
    }

    /// A frame that is understood is a JSON object with a type; one of another type is ignored.
    #[test]
    fn fuzz_client_frames() {
        let words = [
            "{\"type\":\"auth\",",
            "\"token\":\"t\"",
            "\"since\":null",
            "\"type\":\"typing\"",
            ",",
            "}",
            "\"type\":\"delivered\"",
            "\"seq\":1",
            "\"seq\":1e400",
            "\"conversation_id\":",
            "\"ping\"",
            "\"0b0ac14f-2b0d-4c67-8b2f-06b9fa1a7d39\"",
            "[",
            "]",
            "\\u0000",
            "-1",
            "1.5",
        ];
        crate::fuzzing::fuzz("frames", &words, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return };
            let Ok(frame) = ClientFrame::parse(text) else { return };
            let value: Value = serde_json::from_str(text).expect("JSON");
            let named = value.get("type").and_then(Value::as_str).expect("a type");
            match frame {
                ClientFrame::Auth { token, .. } => {
                    assert_eq!(named, "auth");
                    assert_eq!(value["token"], token);
                }
                ClientFrame::Ping => assert_eq!(named, "ping"),
                ClientFrame::Typing(_) => assert_eq!(named, "typing"),
                ClientFrame::Delivered(..) => assert_eq!(named, "delivered"),
                ClientFrame::Other => assert!(!["auth", "ping"].contains(&named)),
            }
        });
    }
}
