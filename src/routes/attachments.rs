//! POST /attachments, GET /attachments/{id}, GET /attachments/{id}/thumbnail.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::bytes::serve;
use super::openapi::{Docs, Route};
use super::reply::Created;
use crate::domain::attachments::Attachment;
use crate::domain::files::{MAX_SIZE, Rendition};
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::{Error, Result};
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::{Caller, Guards};
use crate::filters::multipart::{Form, multipart};
use crate::filters::problem::respond;
use crate::filters::with;
use crate::services::attachments::Attachments;
use crate::services::upload::Upload;

const CREATE: Endpoint = Endpoint::post("/attachments", Class::Upload).multipart();
const READ: Endpoint = Endpoint::get("/attachments/{attachment_id}", Class::Read);
const THUMBNAIL: Endpoint = Endpoint::get("/attachments/{attachment_id}/thumbnail", Class::Read);

pub(super) const ENDPOINTS: &[Endpoint] = &[CREATE, READ, THUMBNAIL];

pub(super) fn routes(guards: &Guards, attachments: &Arc<Attachments>) -> BoxedFilter<(Response,)> {
    let create = guards.caller::<()>(&CREATE).and(multipart(&CREATE, MAX_SIZE));
    let create = create.and(with(attachments)).then(create_one).map(respond).boxed();
    let open = |endpoint, rendition| {
        guards
            .caller::<(AttachmentId,)>(endpoint)
            .and(warp::header::headers_cloned())
            .and(with(attachments))
            .and(with(&rendition))
            .then(read)
            .map(respond)
            .boxed()
    };
    any_of([create, open(&READ, Rendition::Original), open(&THUMBNAIL, Rendition::Thumbnail)])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Attachments", "Files, up to 5 MiB each.");
    docs.route(&CREATE, "upload", "Upload a file")
        .says("The type is found in the bytes. What nothing refers to after 24 hours is deleted.")
        .takes_form(json!({
            "type": "object",
            "required": ["file"],
            "properties": {"file": {
                "type": "string",
                "format": "binary",
                "minLength": 1,
                "description": "1 byte to 5 MiB, with a file name.",
                "example": "Hello",
            }},
        }))
        .gives::<Attachment>(201, "The stored file.")
        .fails(&["image_too_large", "quota_exceeded"]);
    let read = docs.route(&READ, "download", "The bytes of a file");
    describe_bytes(read, "*/*");
    let thumbnail = docs.route(&THUMBNAIL, "downloadThumbnail", "A preview of an image");
    describe_bytes(thumbnail, "image/*");
}

fn describe_bytes(route: &mut Route, media_type: &'static str) {
    let bytes = || json!({"type": "string", "format": "binary"});
    route
        .says("For the uploader, and whoever may see what the file is attached to.")
        .reads_header("If-None-Match", "Tags of copies that the client has.", "\"other\"")
        .reads_header("Range", "Which bytes (RFC 9110 §14).", "bytes=0-99")
        .reads_header("If-Range", "The range counts for this version only.", "\"other\"")
        .fails(&["range_not_satisfiable"]);
    for (status, says) in [(200, "All bytes."), (206, "The bytes of `Range`.")] {
        route.gives_media(status, says, media_type, bytes(), json!("Hello"));
        describe_headers(route);
    }
    route.header("Content-Range", "Which bytes these are.");
    route.gives_nothing(304, "The client's copy is this version.");
    describe_headers(route);
}

fn describe_headers(route: &mut Route) {
    route
        .header("ETag", "The version.")
        .header("Accept-Ranges", "`bytes`.")
        .header("Content-Disposition", "`inline` for the four kinds of image, and the name.");
}

async fn create_one(
    (): (),
    caller: Caller,
    mut form: Form,
    attachments: Arc<Attachments>,
) -> Result<Created<Attachment>> {
    let received = receive(&mut form, &attachments, caller.user).await;
    form.drain(received).await?.finish().await.map(Created)
}

/// Reads the whole form and stores its one `file`; other fields are ignored.
async fn receive(form: &mut Form, attachments: &Attachments, uploader: UserId) -> Result<Upload> {
    let mut first: Option<Upload> = None;
    let mut more = false;
    while let Some(mut part) = form.next_part().await? {
        let is_file = part.name() == Some("file");
        let takes = is_file && first.is_none();
        if takes {
            attachments.check_quota(uploader).await?;
            let filename = part.filename().unwrap_or_default();
            first = Some(attachments.begin(uploader, filename));
        }
        more |= is_file && !takes;
        while let Some(bytes) = part.chunk().await? {
            if let Some(upload) = first.as_mut().filter(|_| takes) {
                upload.write(bytes).await?;
            }
        }
    }
    if more {
        return Err(Error::field("file", "too_many", "must be one file only"));
    }
    first.ok_or_else(|| Error::field("file", "required", "field is required"))
}

async fn read(
    (id,): (AttachmentId,),
    caller: Caller,
    request: HeaderMap,
    attachments: Arc<Attachments>,
    rendition: Rendition,
) -> Result<Response> {
    serve(attachments.open(caller.user, id, rendition).await?, &request).await
}
