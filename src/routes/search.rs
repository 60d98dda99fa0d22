//! Searching: `GET /search/messages`.

use std::sync::Arc;

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::openapi::Docs;
use super::reply::OkJson;
use crate::domain::ids::ConversationId;
use crate::domain::messages::Message;
use crate::domain::page::{Limit, Page};
use crate::domain::words::Words;
use crate::error::Result;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::input;
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::search::Search;

const MESSAGES: Endpoint = Endpoint::get("/search/messages", Class::Search);

pub(super) const ENDPOINTS: &[Endpoint] = &[MESSAGES];

pub(super) fn routes(guards: &Guards, search: &Arc<Search>) -> BoxedFilter<(Response,)> {
    let messages = guards.caller::<()>(&MESSAGES).and(query::<Wanted>()).and(with(search));
    messages.then(self::messages).map(respond).boxed()
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Search", "Finding messages by their words.");
    let words = json!({
        "type": "string", "minLength": 1, "maxLength": 200, "examples": ["balloon red"],
    });
    let conversation = json!({
        "type": "string",
        "format": "uuid",
        "examples": ["6f1c2f6e-5a0b-4c7e-9b8e-2f7f3f1f0a11"],
    });
    docs.route(&MESSAGES, "searchMessages", "Find messages by their words")
        .says(
            "Messages that have all of the words, in any order, whatever their case, diacritics \
             and strokes (`ł`, `ø`, `đ`), in the conversations that one is in. In scripts without \
             spaces and in Hangul, any run of adjacent characters is a word. The newest 2000 \
             matches are found. A page may have fewer items than asked for and still a \
             `next_cursor`, where many messages had to be read to find them.",
        )
        .needs_query(
            "q",
            "Words, of 2 characters at least, or of one in scripts without spaces and in Hangul. \
             Punctuation is none, and nothing is an operator.",
            words,
        )
        .query("conversation_id", "Only in this conversation.", conversation)
        .gives_page::<Message>("A page, newest first.")
        .fails(&["not_found"]);
}

/// What is looked for, where, and which page of it.
struct Wanted {
    /// There, unless it was refused.
    words: Option<Words>,
    only: Option<ConversationId>,
    limit: Limit,
    cursor: Option<String>,
}

impl QueryInput for Wanted {
    fn read(query: &mut Query) -> Self {
        let words = match query.text("q").as_deref().map(Words::parse) {
            Some(Ok(words)) => Some(words),
            Some(Err(broken)) => {
                query.refuse("q", broken.code, broken.message);
                None
            }
            None => {
                query.refuse("q", "required", "parameter is required");
                None
            }
        };
        let only = query.text("conversation_id").and_then(|id| {
            let parsed = id.parse().ok();
            if parsed.is_none() {
                query.refuse("conversation_id", "invalid_format", "must be a conversation id");
            }
            parsed
        });
        Self { words, only, limit: query.limit(), cursor: query.cursor() }
    }
}

async fn messages(
    (): (),
    caller: Caller,
    wanted: Wanted,
    search: Arc<Search>,
) -> Result<OkJson<Page<Message>>> {
    let words = input::required("q", wanted.words)?;
    let cursor = wanted.cursor.as_deref();
    search.messages(caller.user, &words, wanted.only, wanted.limit, cursor).await.map(OkJson)
}
