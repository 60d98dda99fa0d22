//! The inbox: `GET /conversations`, and `…/{conversation_id}`, `…/read`, `…/mute`.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::OkJson;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ConversationId;
use crate::domain::page::Page;
use crate::error::{Error, Result};
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::query::{PageQuery, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::conversations::{Conversations, ReadState};
use crate::services::inbox::{Conversation, Inbox};

const READ: Endpoint = Endpoint::post("/conversations/{conversation_id}/read", Class::Write).json();

const LIST: Endpoint = Endpoint::get("/conversations", Class::Read);
const ONE: Endpoint = Endpoint::get("/conversations/{conversation_id}", Class::Read);
const MUTE: Endpoint = Endpoint::put("/conversations/{conversation_id}/mute", Class::Write).json();

pub(super) const ENDPOINTS: &[Endpoint] = &[LIST, ONE, READ, MUTE];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let inbox = with(&services.inbox);
    let list = guards.caller::<()>(&LIST).and(query::<PageQuery>()).and(inbox.clone());
    let list = list.then(self::list).map(respond).boxed();
    let one = guards.caller::<(ConversationId,)>(&ONE).and(inbox.clone());
    let one = one.then(self::one).map(respond).boxed();
    let read = guards.caller::<(ConversationId,)>(&READ).and(json::<MarkRead>(&READ));
    let read = read.and(with(&services.conversations)).then(self::read).map(respond).boxed();
    let mute = guards.caller::<(ConversationId,)>(&MUTE).and(json::<Mute>(&MUTE)).and(inbox);
    let mute = mute.then(self::mute).map(respond).boxed();
    any_of([list, one, read, mute])
}

async fn list(
    (): (),
    caller: Caller,
    page: PageQuery,
    inbox: Arc<Inbox>,
) -> Result<OkJson<Page<Conversation>>> {
    inbox.page(caller.user, page.limit, page.cursor.as_deref()).await.map(OkJson)
}

async fn one(
    (conversation,): (ConversationId,),
    caller: Caller,
    inbox: Arc<Inbox>,
) -> Result<OkJson<Conversation>> {
    inbox.one(caller.user, conversation).await.map(OkJson)
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct Mute {
    /// Null ends it; absent, it stays as it is.
    #[serde(default, deserialize_with = "input::nullable")]
    #[expect(clippy::option_option, reason = "absent and null differ")]
    #[schema(value_type = Option<Timestamp>)]
    muted_until: Option<Option<Timestamp>>,
}

async fn mute(
    (conversation,): (ConversationId,),
    caller: Caller,
    input: Mute,
    inbox: Arc<Inbox>,
) -> Result<OkJson<Conversation>> {
    match input.muted_until {
        Some(until) => inbox.mute(caller.user, conversation, until).await.map(OkJson),
        None => inbox.one(caller.user, conversation).await.map(OkJson),
    }
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Conversations", "Direct ones and those of groups.");
    docs.route(&LIST, "listConversations", "The inbox")
        .gives_page::<Conversation>("A page, the latest activity first.");
    docs.route(&ONE, "getConversation", "A conversation").gives::<Conversation>(200, "It.");
    docs.route(&MUTE, "muteConversation", "Raise no notifications until then")
        .takes::<Mute>()
        .gives::<Conversation>(200, "The conversation as it now is.");
    docs.route(&READ, "markConversationRead", "Mark as read, up to a message")
        .says("Read marks never move back.")
        .takes::<MarkRead>()
        .gives::<ReadState>(200, "Where the caller now stands.");
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
struct MarkRead {
    /// As text: one that is no id at all is as unknown as any other.
    #[validate(required)]
    #[schema(value_type = String, example = "QZ4hnyWJiGOg4QybxpYTmgAAAAAAAAAH")]
    message_id: Option<String>,
}

async fn read(
    (conversation,): (ConversationId,),
    caller: Caller,
    input: MarkRead,
    conversations: Arc<Conversations>,
) -> Result<OkJson<ReadState>> {
    let message = input.message_id.unwrap_or_default();
    let message = message.parse().map_err(|_| Error::not_found())?;
    conversations.mark_read(caller.user, conversation, message).await.map(OkJson)
}
