//! Undoing a change of address: GET and POST /email/undo.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{NoContent, page};
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::email_undo::EmailUndo;

const UNDO: Endpoint = Endpoint::post("/email/undo", Class::Auth).public().json();
const UNDO_PAGE: Endpoint = Endpoint::get("/email/undo", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[UNDO, UNDO_PAGE];

pub(super) fn routes(guards: &Guards, undo: &Arc<EmailUndo>) -> BoxedFilter<(Response,)> {
    let post = guards.public::<()>(&UNDO).and(json(&UNDO)).and(with(undo));
    let post = post.then(self::undo).map(respond).boxed();
    let page = guards.public::<()>(&UNDO_PAGE);
    let page = page.map(|(), _| page_of_undo()).boxed();
    any_of([post, page])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.route(&UNDO, "undoEmailChange", "Take a change of the e-mail address back")
        .says(
            "By the link that was mailed to the old address when the change was asked for. A \
             change that waits for its link is withdrawn, one made less than 7 days ago is undone. \
             All sessions end, and no password works until a new one is set by the old address.",
        )
        .takes::<Undo>()
        .gives_nothing(204, "The account has its old address.")
        .fails(&["invalid_or_expired_token"]);
    docs.route(&UNDO_PAGE, "undoEmailChangePage", "The page behind the mailed link")
        .is_mailed_page();
}

fn page_of_undo() -> Response {
    page(include_str!("email_undo.html"))
}

#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = UndoEmailChange)]
struct Undo {
    /// From the mailed link.
    #[validate(required)]
    #[schema(value_type = String, example = "zY3Qm1w8dTn0bXkR5vLh2A")]
    token: Option<String>,
}

async fn undo((): (), _client: Client, input: Undo, undo: Arc<EmailUndo>) -> Result<NoContent> {
    undo.undo(input.token.as_deref().unwrap_or_default()).await?;
    Ok(NoContent)
}
