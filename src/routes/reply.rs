//! What handlers answer with: a status and a JSON body.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use warp::Reply;
use warp::reply::Response;

use crate::domain::ids::UserId;
use crate::error::Error;
use crate::filters::problem;

/// 200 with a JSON body.
#[derive(Debug)]
pub(super) struct Found<T>(pub T);

/// 201 with a JSON body.
#[derive(Debug)]
pub(super) struct Created<T>(pub T);

/// The body that says that someone was removed.
#[derive(Debug, Serialize)]
pub(super) struct Removed {
    user_id: UserId,
    removed: bool,
}

impl Removed {
    /// This user was.
    pub(super) fn of(user_id: UserId) -> Self {
        Self { user_id, removed: true }
    }
}

impl<T: Serialize + Send> Reply for Found<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize + Send> Reply for Created<T> {
    fn into_response(self) -> Response {
        json(StatusCode::CREATED, &self.0)
    }
}

/// A JSON body under any status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(bytes::Bytes::from(body).into());
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => problem::response(Error::internal(error)),
    }
}
