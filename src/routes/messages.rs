//! POST /messages, GET /messages/{user_id} and GET /conversations/{conversation_id}/messages.

use std::sync::Arc;

use http::HeaderValue;
use serde::Deserialize;
use validator::Validate;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::any_of;
use super::reply::{Created, Found};
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::Target;
use crate::domain::page::Limit;
use crate::domain::text::MessageText;
use crate::error::{Error, FieldError, Result};
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::messages::{Delivery, History, Mark, Messages, NewMessage};

/// Bodies that take a message's text: 8000 characters may be 96 KiB of escapes.
const TEXT_LIMIT: u64 = 128 * 1024;

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
        .and(query::<HistoryQuery>())
        .and(messages)
        .then(history)
        .map(respond)
        .boxed();
    any_of([send, with_user, history])
}

#[derive(Debug, Deserialize, Validate)]
struct SendMessage {
    recipient_user_id: Option<UserId>,
    group_id: Option<GroupId>,
    message: Option<String>,
    #[validate(length(max = 10, code = "too_long", message = "at most 10 attachments"))]
    attachments: Option<Vec<AttachmentId>>,
    reply_to: Option<MessageId>,
    #[validate(length(min = 1, max = 64, code = "invalid_length", message = "1 to 64 characters"))]
    client_message_id: Option<String>,
}

impl SendMessage {
    fn target(&self, errors: &mut Vec<FieldError>) -> Option<Target> {
        match (self.recipient_user_id, self.group_id) {
            (Some(user), None) => Some(Target::User(user)),
            (None, Some(group)) => Some(Target::Group(group)),
            (None, None) => {
                let message = "one of recipient_user_id and group_id is required";
                errors.push(FieldError::new("recipient_user_id", "required", message));
                None
            }
            (Some(_), Some(_)) => {
                let message = "only one of recipient_user_id and group_id";
                errors.push(FieldError::new("group_id", "conflict", message));
                None
            }
        }
    }

    fn parse(self) -> Result<NewMessage> {
        let mut errors = Vec::new();
        let target = self.target(&mut errors);
        let attachments = self.attachments.unwrap_or_default();
        let text = match self.message {
            None if attachments.is_empty() => {
                errors.push(FieldError::new("message", "required", "this field is required"));
                None
            }
            text => MessageText::parse(&text.unwrap_or_default(), !attachments.is_empty())
                .map_err(|violation| {
                    errors.push(FieldError::new("message", violation.code, violation.message));
                })
                .ok(),
        };
        match (target, text) {
            (Some(target), Some(text)) => Ok(NewMessage {
                target,
                text,
                attachments,
                reply_to: self.reply_to,
                client_message_id: self.client_message_id,
            }),
            _ => Err(Error::fields(errors)),
        }
    }
}

async fn send(
    (): (),
    caller: Caller,
    input: SendMessage,
    messages: Arc<Messages>,
) -> Result<Sent> {
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
        let (before, after) = (query.text("before"), query.text("after"));
        if before.is_some() && after.is_some() {
            query.refuse("after", "conflict", "at most one of before and after");
        }
        let read = |text: String| text.parse::<MessageId>().map_err(|_| not_a_mark());
        let mark = match (before, after) {
            (Some(before), _) => read(before).map(Mark::Before),
            (None, Some(after)) => read(after).map(Mark::After),
            (None, None) => Ok(Mark::Newest),
        };
        Self { limit, mark }
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
    page: HistoryQuery,
    messages: Arc<Messages>,
) -> Result<Found<History>> {
    messages.history(caller.user, conversation, page.mark?, page.limit).await.map(Found)
}
