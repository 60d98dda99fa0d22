//! What one does to a message that is there:
//! `…/messages/{message_id}`, `…/reactions/{emoji}`, `…/pin`, `…/receipts`.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::messages::TEXT_LIMIT;
use super::openapi::Docs;
use super::reply::{NoContent, OkJson};
use crate::domain::emoji::Emoji;
use crate::domain::ids::{ConversationId, MessageId};
use crate::domain::messages::Message;
use crate::domain::page::Page;
use crate::domain::text::{MessageText, Violation};
use crate::error::{Error, Result};
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::path::Text;
use crate::filters::problem::respond;
use crate::filters::query::{PageQuery, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::messages::{MessageAction, MessageReceipt, Messages};

/// A message in its conversation.
type Place = (ConversationId, MessageId);

const ONE: Endpoint =
    Endpoint::get("/conversations/{conversation_id}/messages/{message_id}", Class::Read);
const EDIT: Endpoint =
    Endpoint::patch("/conversations/{conversation_id}/messages/{message_id}", Class::Write)
        .json_up_to(TEXT_LIMIT);
const DELETE: Endpoint =
    Endpoint::delete("/conversations/{conversation_id}/messages/{message_id}", Class::Write);
const REACT: Endpoint = Endpoint::put(
    "/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}",
    Class::Write,
);
const TAKE_BACK: Endpoint = Endpoint::delete(
    "/conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}",
    Class::Write,
);
const PIN: Endpoint =
    Endpoint::put("/conversations/{conversation_id}/messages/{message_id}/pin", Class::Write);
const UNPIN: Endpoint =
    Endpoint::delete("/conversations/{conversation_id}/messages/{message_id}/pin", Class::Write);
const RECEIPTS: Endpoint =
    Endpoint::get("/conversations/{conversation_id}/messages/{message_id}/receipts", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] =
    &[ONE, EDIT, DELETE, REACT, TAKE_BACK, PIN, UNPIN, RECEIPTS];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let messages = with(&services.messages);
    let one = guards.caller::<Place>(&ONE).and(messages.clone());
    let one = one.then(self::one).map(respond).boxed();
    let edit = guards.caller::<Place>(&EDIT).and(json(&EDIT)).and(messages.clone());
    let edit = edit.then(self::edit).map(respond).boxed();
    let delete = guards.caller::<Place>(&DELETE).and(messages.clone());
    let delete = delete.then(self::delete).map(respond).boxed();
    let receipts = guards.caller::<Place>(&RECEIPTS).and(query::<PageQuery>()).and(messages);
    let receipts = receipts.then(self::receipts).map(respond).boxed();
    any_of([
        one,
        edit,
        delete,
        reaction(guards, services, &REACT, MessageAction::React),
        reaction(guards, services, &TAKE_BACK, MessageAction::TakeBack),
        pin(guards, services, &PIN, &MessageAction::Pin),
        pin(guards, services, &UNPIN, &MessageAction::Unpin),
        receipts,
    ])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.route(&ONE, "getMessage", "A message").gives::<Message>(200, "It.");
    docs.route(&EDIT, "editMessage", "Change the text")
        .says("Its sender only.")
        .takes::<EditMessage>()
        .gives::<Message>(200, "The message as it now is.")
        .fails(&["forbidden", "recipient_unavailable", "message_deleted"]);
    docs.route(&DELETE, "deleteMessage", "Delete a message")
        .says("Its sender, or a group's owner and admins. It keeps its place.")
        .gives_nothing(204, "It is deleted; also, if it was before.")
        .fails(&["forbidden"]);
    let actions = [
        (&REACT, "react", "React with an emoji"),
        (&TAKE_BACK, "takeBackReaction", "Take a reaction back"),
        (&PIN, "pinMessage", "Pin a message"),
        (&UNPIN, "unpinMessage", "Unpin a message"),
    ];
    for (endpoint, id, summary) in actions {
        docs.route(endpoint, id, summary)
            .gives::<Message>(200, "The message as it now is.")
            .fails(&["recipient_unavailable", "validation_failed", "message_deleted"]);
    }
    docs.route(&RECEIPTS, "listReceipts", "Who has got and read it")
        .gives_page::<MessageReceipt>("A page of all other members.");
}

/// A route whose path ends in an emoji.
fn reaction(
    guards: &Guards,
    services: &Services,
    endpoint: &Endpoint,
    action: fn(Emoji) -> MessageAction,
) -> BoxedFilter<(Response,)> {
    guards
        .caller::<(ConversationId, MessageId, Text)>(endpoint)
        .and(with(&services.messages))
        .then(move |(conversation, message, emoji): (_, _, Text), caller, messages| async move {
            let emoji = Emoji::parse(&emoji.0).map_err(not_an_emoji)?;
            let place = (conversation, message);
            actiond(place, caller, messages, &action(emoji)).await
        })
        .map(respond)
        .boxed()
}

/// A route that pins or unpins.
fn pin(
    guards: &Guards,
    services: &Services,
    endpoint: &Endpoint,
    action: &MessageAction,
) -> BoxedFilter<(Response,)> {
    let action = action.clone();
    guards
        .caller::<Place>(endpoint)
        .and(with(&services.messages))
        .then(move |place, caller, messages| {
            let action = action.clone();
            async move { actiond(place, caller, messages, &action).await }
        })
        .map(respond)
        .boxed()
}

async fn actiond(
    (conversation, message): Place,
    caller: Caller,
    messages: Arc<Messages>,
    action: &MessageAction,
) -> Result<OkJson<Message>> {
    messages.action(caller.user, conversation, message, action).await.map(OkJson)
}

fn not_an_emoji(broken: Violation) -> Error {
    Error::field("emoji", broken.code, broken.message)
}

async fn one(
    (conversation, message): Place,
    caller: Caller,
    messages: Arc<Messages>,
) -> Result<OkJson<Message>> {
    messages.one(caller.user, conversation, message).await.map(OkJson)
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct EditMessage {
    /// May be empty beside a file, which is known only later.
    #[validate(required, custom(function = "input::message_text"))]
    #[schema(value_type = MessageText)]
    message: Option<String>,
}

async fn edit(
    (conversation, message): Place,
    caller: Caller,
    input: EditMessage,
    messages: Arc<Messages>,
) -> Result<OkJson<Message>> {
    let parse = |text: &str| MessageText::parse(text, true);
    let text = input::given("message", input.message.as_deref(), parse)?;
    messages.edit(caller.user, conversation, message, &text).await.map(OkJson)
}

async fn delete(
    (conversation, message): Place,
    caller: Caller,
    messages: Arc<Messages>,
) -> Result<NoContent> {
    messages.delete(caller.user, conversation, message).await.map(|()| NoContent)
}

async fn receipts(
    place: Place,
    caller: Caller,
    page: PageQuery,
    messages: Arc<Messages>,
) -> Result<OkJson<Page<MessageReceipt>>> {
    messages.receipts(caller.user, place, page.limit, page.cursor.as_deref()).await.map(OkJson)
}
