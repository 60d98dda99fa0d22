//! `POST /messages`, `GET /messages/{user_id}` and `GET /conversations/{conversation_id}/messages`.

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use validator::{Validate, ValidationError, ValidationErrors};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::any_of;
use super::reply::{Created, Found};
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::Target;
use crate::domain::page::Limit;
use crate::domain::text::MessageText;
use crate::error::{Error, Result};
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::messages::{Delivery, History, Mark, Messages, NewMessage, Which};

/// Bodies that take a message's text: 8000 characters may be 96 KiB of escapes.
pub(super) const TEXT_LIMIT: u64 = 128 * 1024;

const SEND: Endpoint = Endpoint::post("/messages", Class::Write).json_up_to(TEXT_LIMIT);
const WITH_USER: Endpoint = Endpoint::get("/messages/{user_id}", Class::Read);
const HISTORY: Endpoint = Endpoint::get("/conversations/{conversation_id}/messages", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] = &[SEND, WITH_USER, HISTORY];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let messages = with(&services.messages);
    let send = guards
        .caller::<()>(&SEND)
        .and(json::<SendMessage>(&SEND))
        .and(messages.clone())
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

#[derive(Debug, Deserialize)]
struct SendMessage {
    recipient_user_id: Option<UserId>,
    group_id: Option<GroupId>,
    message: Option<String>,
    attachments: Option<Vec<AttachmentId>>,
    reply_to: Option<MessageId>,
    client_message_id: Option<String>,
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
                "one of recipient_user_id and group_id is required",
            ),
            (Some(_), Some(_)) => {
                broken("group_id", "conflict", "only one of recipient_user_id and group_id");
            }
            _ => {}
        }
        let files = self.attachments.as_ref().map_or(0, Vec::len);
        if files > 10 {
            broken("attachments", "too_long", "at most 10 attachments");
        }
        let text = self.message.as_deref();
        if text.is_none() && files == 0 {
            broken("message", "required", "this field is required");
        } else if let Err(rule) = MessageText::parse(text.unwrap_or_default(), files > 0) {
            broken("message", rule.code, rule.message);
        }
        let name = self.client_message_id.as_ref().map_or(1, |name| name.chars().count());
        if !(1..=64).contains(&name) {
            broken("client_message_id", "invalid_length", "1 to 64 characters");
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
        let text = MessageText::parse(&text, !attachments.is_empty());
        Ok(NewMessage {
            target: target.ok_or_else(|| Error::internal("a message without target"))?,
            text: text.map_err(|rule| Error::field("message", rule.code, rule.message))?,
            attachments,
            reply_to: self.reply_to,
            client_message_id: self.client_message_id,
        })
    }
}

async fn send((): (), caller: Caller, input: SendMessage, messages: Arc<Messages>) -> Result<Sent> {
    messages.send(caller.user, input.parse()?).await.map(Sent)
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
    mark: Result<Mark>,
}

impl QueryInput for HistoryQuery {
    fn read(query: &mut Query) -> Self {
        let limit = query.limit();
        let read = |text: String| text.parse::<MessageId>().map_err(|_| not_a_mark());
        let mut mark = None;
        for name in ["before", "after", "around"] {
            let Some(text) = query.text(name) else { continue };
            if mark.is_some() {
                query.refuse(name, "conflict", "at most one of before, after and around");
            }
            mark = Some(read(text).map(|message| match name {
                "before" => Mark::Before(message),
                "after" => Mark::After(message),
                _ => Mark::Around(message),
            }));
        }
        Self { limit, mark: mark.unwrap_or(Ok(Mark::Newest)) }
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
    Error::malformed("invalid_cursor", "the mark is not a message id")
}

async fn with_user(
    (peer,): (UserId,),
    caller: Caller,
    page: HistoryQuery,
    messages: Arc<Messages>,
) -> Result<Found<History>> {
    messages.history_with(caller.user, peer, page.mark?, page.limit).await.map(Found)
}

async fn history(
    (conversation,): (ConversationId,),
    caller: Caller,
    query: ConversationQuery,
    messages: Arc<Messages>,
) -> Result<Found<History>> {
    let ConversationQuery { page, which } = query;
    let found = messages.history(caller.user, conversation, which, page.mark?, page.limit);
    found.await.map(Found)
}
