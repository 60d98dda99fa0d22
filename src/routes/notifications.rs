//! GET /notifications and POST /notifications/read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use validator::{Validate, ValidationError, ValidationErrors};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::OkJson;
use crate::domain::page::Limit;
use crate::error::Result;
use crate::filters::body::json;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::problem::respond;
use crate::filters::query::{Query, QueryInput, query};
use crate::filters::with;
use crate::services::Services;
use crate::services::notifications::{Inbox, Notifications, Which};

const LIST: Endpoint = Endpoint::get("/notifications", Class::Read);
const READ: Endpoint = Endpoint::post("/notifications/read", Class::Write).json();

pub(super) const ENDPOINTS: &[Endpoint] = &[LIST, READ];

/// How many notifications one request marks.
const MOST_IDS: usize = 1000;

pub(super) fn routes(guards: &Guards, services: &Services) -> BoxedFilter<(Response,)> {
    let notifications = with(&services.notifications);
    let list = guards
        .caller::<()>(&LIST)
        .and(query::<ListQuery>())
        .and(notifications.clone())
        .then(list)
        .map(respond)
        .boxed();
    let read = guards
        .caller::<()>(&READ)
        .and(json::<MarkRead>(&READ))
        .and(notifications)
        .then(read)
        .map(respond)
        .boxed();
    any_of([list, read])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Notifications", "What happened, and what waits to be read.");
    docs.route(&LIST, "listNotifications", "Notifications")
        .query("unread", "`true`: only those unread.", json!({"type": "boolean"}))
        .limit()
        .cursor()
        .gives::<Inbox>(200, "A page, the newest first.");
    docs.route(&READ, "markNotificationsRead", "Mark as read")
        .says("Either `ids` or `all: true`. Ids of others, or of none, are passed over.")
        .takes::<MarkRead>()
        .with(json!({
            "if": {"not": {"required": ["ids"]}},
            "then": {"required": ["all"]},
            "example": {"all": true},
        }))
        .gives::<Unread>(200, "How many are unread now.");
}

struct ListQuery {
    unread_only: bool,
    cursor: Option<String>,
    limit: Limit,
}

impl QueryInput for ListQuery {
    fn read(query: &mut Query) -> Self {
        Self { unread_only: query.flag("unread"), cursor: query.cursor(), limit: query.limit() }
    }
}

async fn list(
    (): (),
    caller: Caller,
    page: ListQuery,
    notifications: Arc<Notifications>,
) -> Result<OkJson<Inbox>> {
    let ListQuery { unread_only, cursor, limit } = page;
    notifications.page(caller.user, unread_only, cursor.as_deref(), limit).await.map(OkJson)
}

#[derive(Debug, Deserialize, ToSchema)]
struct MarkRead {
    /// As text: one that is no id at all is as unknown as any other, and so passed over.
    #[schema(max_items = 1000, example = json!(["jR9qcCw7ToWx2W8KXH4rlAFBniGfJYmIY6DhDJvGlhOa"]))]
    ids: Option<Vec<String>>,
    /// All there are now.
    all: Option<bool>,
}

/// By hand, because the rule stands between the fields.
impl Validate for MarkRead {
    fn validate(&self) -> std::result::Result<(), ValidationErrors> {
        let mut errors = ValidationErrors::new();
        let mut broken = |field, code, message: &'static str| {
            errors.add(field, ValidationError::new(code).with_message(message.into()));
        };
        match (&self.ids, self.all) {
            (None, None | Some(false)) => {
                broken("ids", "required", "either ids or all: true is required");
            }
            (Some(_), Some(true)) => broken("all", "conflict", "must not be combined with ids"),
            (Some(ids), _) if ids.len() > MOST_IDS => {
                broken("ids", "too_long", "must have at most 1000 ids");
            }
            _ => {}
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[derive(Serialize, ToSchema)]
struct Unread {
    /// How many notifications are unread.
    #[schema(example = 0)]
    unread_count: u64,
}

async fn read(
    (): (),
    caller: Caller,
    input: MarkRead,
    notifications: Arc<Notifications>,
) -> Result<OkJson<Unread>> {
    let which = match input.ids {
        Some(ids) => Which::Some(ids.iter().filter_map(|id| id.parse().ok()).collect()),
        None => Which::All,
    };
    let unread_count = notifications.mark_read(caller.user, which).await?;
    Ok(OkJson(Unread { unread_count }))
}
