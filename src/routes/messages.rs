//! `POST /messages`, `GET /messages/{user_id}` and `GET /conversations/{conversation_id}/messages`.

mod form;

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use validator::{Validate, ValidationError, ValidationErrors};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::any_of;
use super::openapi::{Docs, Route};
use super::reply::{Created, OkJson};
use crate::domain::conversations::Target;
use crate::domain::files::MAX_TOGETHER;
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::Message;
use crate::domain::page::Limit;
use crate::domain::text::MessageText;
use crate::error::{Error, Result};
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::json_or_multipart::{JsonOrForm, json_or_multipart};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::attachments::Attachments;
use crate::services::messages::{Delivery, History, Mark, Messages, NewMessage, Which};

/// Bodies that take a message's text: 8000 characters may be 96 KiB of escapes.
pub(super) const TEXT_LIMIT: u64 = 128 * 1024;

const SEND: Endpoint =
    Endpoint::post("/messages", Class::Write).json_or_multipart(TEXT_LIMIT, Class::Upload);
const WITH_USER: Endpoint = Endpoint::get("/messages/{user_id}", Class::Read);
const HISTORY: Endpoint = Endpoint::get("/conversations/{conversation_id}/messages", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] = &[SEND, WITH_USER, HISTORY];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let messages = with(&services.messages);
    let send = guards
        .caller::<()>(&SEND)
        .and(json_or_multipart::<SendMessage>(&SEND, MAX_TOGETHER))
        .and(messages.clone())
        .and(with(&services.attachments))
        .then(send)
        .map(respond)
        .boxed();
    let with_user = guards
        .caller::<(UserId,)>(&WITH_USER)
        .and(query::<HistoryQuery>())
        .and(messages.clone())
        .then(with_user)
        .map(respond)
        .boxed();
    let history = guards
        .caller::<(ConversationId,)>(&HISTORY)
        .and(query::<ConversationQuery>())
        .and(messages)
        .then(history)
        .map(respond)
        .boxed();
    any_of([send, with_user, history])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Messages", "Numbered without a gap in each conversation.");
    docs.route(&SEND, "sendMessage", "Send a message")
        .says(
            "To a user or a group. 201 means durable. The repeat of a `client_message_id` in the \
             same conversation gets the message first made.",
        )
        .takes::<SendMessage>()
        .with(json!({
            "if": {"not": {"required": ["recipient_user_id"]}},
            "then": {"required": ["group_id"]},
            "example": {"recipient_user_id": "8d1f6a70-2c3b-4e85-b1d9-6f0a5c7e2b94",
                "message": "Hello, Grace!"},
        }))
        .reads_header("X-Request-Id", "The caller's own name for the request.", "a1b2c3d4")
        .gives::<Message>(201, "The message.")
        .header("Idempotent-Replayed", "`true` where an earlier request had sent it.")
        .fails(&["not_found", "forbidden", "recipient_unavailable", "idempotency_key_reused"])
        .fails(&["quota_exceeded"])
        .fails(&["message_deleted", "image_too_large"]);
    let with_user = docs.route(&WITH_USER, "historyWithUser", "The history with a user");
    describe_history(with_user);
    let history = docs.route(&HISTORY, "history", "The history of a conversation");
    describe_history(history);
    let pinned = json!({"type": "boolean"});
    history.query("pinned", "`true`: only pinned ones.", pinned);
}

fn describe_history(route: &mut Route) {
    let mark = || json!({"type": "string", "examples": ["QZ4hnyWJiGOg4QybxpYTmgAAAAAAAAAH"]});
    route
        .says("Newest first; at most one of `before`, `after` and `around`.")
        .limit()
        .query("before", "A message: the page older than it.", mark())
        .query("after", "A message: the page newer than it.", mark())
        .query("around", "A message: up to half a page on each side, and it.", mark())
        .gives::<History>(200, "A page.")
        .fails(&["invalid_cursor"]);
}

#[derive(Debug, Deserialize, ToSchema)]
struct SendMessage {
    /// To whom; or else the group.
    recipient_user_id: Option<UserId>,
    /// To which group; or else the recipient.
    group_id: Option<GroupId>,
    /// The text; may be empty beside an attachment, and is not blank otherwise.
    #[schema(value_type = Option<MessageText>)]
    message: Option<String>,
    /// Files of one's own, together up to 5 MiB.
    #[schema(max_items = 10)]
    attachments: Option<Vec<AttachmentId>>,
    /// A message of the same conversation.
    reply_to: Option<MessageId>,
    /// The sender's own name for it, which makes sending it again harmless.
    #[schema(min_length = 1, max_length = 64, example = "a3f1-42")]
    client_message_id: Option<String>,
    /// How many files come with it: in a form only.
    #[serde(skip)]
    files: usize,
}

/// By hand, because most of these rules stand between fields.
impl Validate for SendMessage {
    fn validate(&self) -> std::result::Result<(), ValidationErrors> {
        let mut errors = ValidationErrors::new();
        let mut broken = |field, code, message: &'static str| {
            errors.add(field, ValidationError::new(code).with_message(message.into()));
        };
        match (self.recipient_user_id, self.group_id) {
            (None, None) => broken(
                "recipient_user_id",
                "required",
                "either recipient_user_id or group_id is required",
            ),
            (Some(_), Some(_)) => {
                broken("group_id", "conflict", "must not be combined with recipient_user_id");
            }
            _ => {}
        }
        let attachments = self.attachments.as_ref().map_or(0, Vec::len);
        if attachments > 10 {
            broken("attachments", "too_long", "must have at most 10 attachments");
        }
        let files = attachments + self.files;
        let text = self.message.as_deref();
        if text.is_none() && files == 0 {
            broken("message", "required", "field is required");
        } else if let Err(rule) = MessageText::parse(text.unwrap_or_default(), files > 0) {
            broken("message", rule.code, rule.message);
        }
        let name = self.client_message_id.as_ref().map_or(1, |name| name.chars().count());
        if !(1..=64).contains(&name) {
            broken("client_message_id", "invalid_length", "must have 1 to 64 characters");
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl SendMessage {
    /// The message of a validated input.
    fn parse(self) -> Result<NewMessage> {
        let target = self.recipient_user_id.map(Target::User);
        let target = target.or(self.group_id.map(Target::Group));
        let attachments = self.attachments.unwrap_or_default();
        let text = self.message.unwrap_or_default();
        let text = MessageText::parse(&text, !attachments.is_empty() || self.files > 0);
        Ok(NewMessage {
            target: target.ok_or_else(|| Error::internal("a message without target"))?,
            text: text.map_err(|rule| Error::field("message", rule.code, rule.message))?,
            attachments,
            reply_to: self.reply_to,
            client_message_id: self.client_message_id,
        })
    }
}

async fn send(
    (): (),
    caller: Caller,
    input: JsonOrForm<SendMessage>,
    messages: Arc<Messages>,
    attachments: Arc<Attachments>,
) -> Result<Sent> {
    let (input, files) = match input {
        JsonOrForm::Json(input) => (input, Vec::new()),
        JsonOrForm::Form(form) => form::receive(form, &attachments, caller.user).await?,
    };
    Box::pin(messages.send_with(caller.user, input.parse()?, files)).await.map(Sent)
}

/// 201; with `Idempotent-Replayed` where an earlier request had sent it.
struct Sent(Delivery);

impl Reply for Sent {
    fn into_response(self) -> Response {
        let mut response = Created(self.0.message).into_response();
        if self.0.replayed {
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert("idempotent-replayed", replayed);
        }
        response
    }
}

/// Which page: at most one mark.
struct HistoryQuery {
    limit: Limit,
    mark: Mark,
}

impl QueryInput for HistoryQuery {
    fn read(query: &mut Query) -> Self {
        let limit = query.limit();
        let read = |text: String| text.parse::<MessageId>().map_err(|_| not_a_mark());
        let mut mark = None;
        for name in ["before", "after", "around"] {
            let Some(message) = query.parsed(name, read) else { continue };
            if mark.is_some() {
                query.refuse(name, "conflict", "only one of before, after and around may be given");
            }
            mark = Some(match name {
                "before" => Mark::Before(message),
                "after" => Mark::After(message),
                _ => Mark::Around(message),
            });
        }
        Self { limit, mark: mark.unwrap_or(Mark::Newest) }
    }
}

/// Which page of which messages.
struct ConversationQuery {
    page: HistoryQuery,
    which: Which,
}

impl QueryInput for ConversationQuery {
    fn read(query: &mut Query) -> Self {
        let page = HistoryQuery::read(query);
        let which = if query.flag("pinned") { Which::Pinned } else { Which::All };
        Self { page, which }
    }
}

fn not_a_mark() -> Error {
    Error::malformed("invalid_cursor", "before, after or around is not a message id")
}

async fn with_user(
    (peer,): (UserId,),
    caller: Caller,
    page: HistoryQuery,
    messages: Arc<Messages>,
) -> Result<OkJson<History>> {
    messages.history_with(caller.user, peer, page.mark, page.limit).await.map(OkJson)
}

async fn history(
    (conversation,): (ConversationId,),
    caller: Caller,
    query: ConversationQuery,
    messages: Arc<Messages>,
) -> Result<OkJson<History>> {
    let ConversationQuery { page, which } = query;
    let found = messages.history(caller.user, conversation, which, page.mark, page.limit);
    found.await.map(OkJson)
}
