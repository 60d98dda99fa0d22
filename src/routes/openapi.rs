//! The OpenAPI document (3.1), made from the route table, the types that are read and written, and
//! what each route says about itself. GET /openapi.json, and GET /docs, which shows it.

mod codes;
mod document;
mod examples;
mod problems;
mod route;
mod schemas;

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::reply::{json_text, page_with};
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;

pub(super) use examples::Examples;
pub(super) use route::Route;
pub(super) use schemas::{Parts, components};

const DOCUMENT: Endpoint = Endpoint::get("/openapi.json", Class::Read).public();
const PAGE: Endpoint = Endpoint::get("/docs", Class::Read).public();

pub(super) const ENDPOINTS: &[Endpoint] = &[DOCUMENT, PAGE];

/// Collects what the routes say about themselves.
#[derive(Debug, Default)]
pub(super) struct Docs {
    tags: Vec<(&'static str, &'static str)>,
    routes: Vec<Route>,
}

impl Docs {
    /// The routes described from here on belong to this chapter.
    pub(super) fn tag(&mut self, name: &'static str, description: &'static str) {
        self.tags.push((name, description));
    }

    /// Describes the route of this row: the name that generated clients call it by, and one line.
    pub(super) fn route(
        &mut self,
        endpoint: &Endpoint,
        id: &'static str,
        summary: &'static str,
    ) -> &mut Route {
        let tag = self.tags.last().map_or("", |(name, _)| name);
        self.routes.push(Route::new(*endpoint, tag, id, summary));
        let last = self.routes.len() - 1;
        &mut self.routes[last]
    }
}

/// The document.
///
/// # Panics
/// When a description contradicts another, or names an unknown code; any test of it shows that.
#[must_use]
pub fn document() -> Value {
    let mut docs = Docs::default();
    super::describe(&mut docs);
    document::of(&docs.tags, &docs.routes)
}

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

pub(super) fn routes(guards: &Guards) -> BoxedFilter<(Response,)> {
    let text = guards.public::<()>(&DOCUMENT).map(|(), _| json_text(&TEXT));
    let page = guards.public::<()>(&PAGE).map(|(), _| page()).boxed();
    any_of([text.boxed(), page])
}

/// The page with everything in it. It may also show images that this service answers with.
fn page() -> Response {
    let page = include_str!("openapi/page/index.html")
        .replace("{style}", include_str!("openapi/page/style.css"))
        .replace("{script}", include_str!("openapi/page/script.js"));
    page_with(&page, "img-src 'self' blob:; ")
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Description", "This document, for programs and for people.");
    docs.route(&DOCUMENT, "openapi", "This document").gives_media(
        200,
        "OpenAPI 3.1.",
        "application/json",
        json!({"type": "object", "required": ["openapi", "info", "paths"]}),
        json!({"openapi": "3.1.0", "info": {"title": "natter", "version": "0"}, "paths": {}}),
    );
    docs.route(&PAGE, "docs", "This document, to read and to try")
        .says("It loads nothing from elsewhere.")
        .gives_html();
}

impl Route {
    /// Answers with a page for people.
    pub(in crate::routes) fn gives_html(&mut self) -> &mut Self {
        let (schema, example) = (json!({"type": "string"}), json!("<!doctype html>"));
        self.gives_media(200, "A page.", "text/html", schema, example)
    }

    /// Is what a mailed link leads to.
    pub(in crate::routes) fn is_mailed_page(&mut self) -> &mut Self {
        let schema = json!({"type": "string", "examples": ["zY3Qm1w8dTn0bXkR5vLh2A"]});
        self.query("token", "The mailed token; the page itself reads it.", schema).gives_html()
    }
}
