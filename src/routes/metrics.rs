//! GET /metrics, on the admin listener only: what the instance measures, for Prometheus.

use http::{HeaderValue, header};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::error::Result;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::front::at;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::metrics::Metrics;

const METRICS: Endpoint = Endpoint::get("/metrics", Class::Read).public().unlimited();

pub(super) const ENDPOINTS: &[Endpoint] = &[METRICS];

/// Text exposition format 0.0.4: the one that everything which scrapes can read.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A page of metrics.
struct Page(String);

impl warp::Reply for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.0.into());
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
        response
    }
}

pub(super) fn routes(metrics: &Metrics) -> BoxedFilter<(Response,)> {
    let page = at::<()>(&METRICS).and(with(metrics)).map(|(), metrics| respond(page(&metrics)));
    page.boxed()
}

fn page(metrics: &Metrics) -> Result<Page> {
    metrics.text().map(Page)
}
