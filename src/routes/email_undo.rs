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
use super::reply::{MailedLink, NoContent, page};
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
    let template = UNDO_LINK.template();
    let get = guards.public::<()>(&UNDO_PAGE).map(move |(), _| page(&template)).boxed();
    any_of([post, get])
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

const UNDO_LINK: MailedLink = MailedLink {
    title: "Keep your e-mail address",
    text: "Someone asked to move your natter account to another e-mail address. If that was not you, \
           take it back: your account keeps this address, every device is signed out, and the \
           password stops working until you choose a new one.",
    button: "Take the change back",
    done: "Done: your account has this address, and every device is signed out. Now choose a new \
           password: where you sign in, say that you forgot it, and use the link that is mailed to \
           this address.",
    refusals: &[(
        "invalid_or_expired_token",
        "This link was used before, or the change is older than 7 days. If somebody else has your \
         account, contact the people who run this service.",
    )],
};

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
