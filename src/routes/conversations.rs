//! `POST /conversations/{conversation_id}/read`.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::openapi::Docs;
use super::reply::Found;
use crate::domain::ids::ConversationId;
use crate::error::{Error, Result};
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::Services;
use crate::services::conversations::{Conversations, ReadState};

const READ: Endpoint = Endpoint::post("/conversations/{conversation_id}/read", Class::Write).json();

pub(super) const ENDPOINTS: &[Endpoint] = &[READ];

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    guards
        .caller::<(ConversationId,)>(&READ)
        .and(json::<MarkRead>(&READ))
        .and(with(&services.conversations))
        .then(read)
        .map(respond)
        .boxed()
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Conversations", "Direct ones and those of groups.");
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
) -> Result<Found<ReadState>> {
    let message = input.message_id.unwrap_or_default();
    let message = message.parse().map_err(|_| Error::not_found())?;
    conversations.mark_read(caller.user, conversation, message).await.map(Found)
}
