//! GET /notifications and POST /notifications/read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use validator::{Validate, ValidationError, ValidationErrors};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::reply::Found;
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

struct ListQuery {
    unread_only: bool,
    cursor: Option<String>,
    limit: Limit,
}

impl QueryInput for ListQuery {
    fn read(query: &mut Query) -> Self {
        Self {
            unread_only: query.flag("unread"),
            cursor: query.text("cursor"),
            limit: query.limit(),
        }
    }
}

async fn list(
    (): (),
    caller: Caller,
    page: ListQuery,
    notifications: Arc<Notifications>,
) -> Result<Found<Inbox>> {
    let ListQuery { unread_only, cursor, limit } = page;
    notifications.page(caller.user, unread_only, cursor.as_deref(), limit).await.map(Found)
}

#[derive(Debug, Deserialize)]
struct MarkRead {
    /// As text: one that is no id at all is as unknown as any other, and so passed over.
    ids: Option<Vec<String>>,
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
            (None, None | Some(false)) => broken("ids", "required", "either ids or all: true"),
            (Some(_), Some(true)) => broken("all", "conflict", "either ids or all, not both"),
            (Some(ids), _) if ids.len() > MOST_IDS => {
                broken("ids", "too_long", "at most 1000 ids");
            }
            _ => {}
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[derive(Serialize)]
struct Unread {
    unread_count: u64,
}

async fn read(
    (): (),
    caller: Caller,
    input: MarkRead,
    notifications: Arc<Notifications>,
) -> Result<Found<Unread>> {
    let which = match input.ids {
        Some(ids) => Which::Some(ids.iter().filter_map(|id| id.parse().ok()).collect()),
        None => Which::All,
    };
    let unread_count = notifications.mark_read(caller.user, which).await?;
    Ok(Found(Unread { unread_count }))
}
