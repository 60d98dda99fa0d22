//! Whether what natter answers is what its OpenAPI document says. Every answer that a test reads
//! is checked: a status, a media type, a header or a field that is not documented fails it.

use std::sync::LazyLock;

use reqwest::{Method, Url};
use serde_json::Value;

use super::actor::Answer;
use super::json_schema;
use super::json_schema::compare;

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(natter::openapi::document);

/// Expects the answer to be as documented.
pub fn check(method: &Method, url: &Url, answer: &Answer) {
    // Plain HTTP is the redirect's and the operators' listeners'.
    if url.scheme() != "https" {
        return;
    }
    let mut found = Vec::new();
    match operation(method, url.path()) {
        Some(operation) => against(operation, method, answer, &mut found),
        None if *method == Method::OPTIONS => {
            expect(matches!(answer.status, 200 | 204), "OPTIONS is 200 or 204", &mut found);
        }
        None => expect(matches!(answer.status, 404 | 405), "is no documented route", &mut found),
    }
    let (path, status, text) = (url.path(), answer.status, answer.text());
    assert!(found.is_empty(), "not as documented: {method} {path}: {status} {text}: {found:#?}");
}

fn expect(holds: bool, says: &str, found: &mut Vec<String>) {
    if !holds {
        found.push(says.to_owned());
    }
}

/// What the document says of this request; a path's own words before its parameters.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let verb = if method == Method::HEAD { "get" } else { &method.as_str().to_lowercase() };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fitting = paths.iter().filter(|(template, _)| fits(template, path));
    let fitting = fitting.filter_map(|(template, verbs)| Some((template, verbs.get(verb)?)));
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, it)| it)
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(expected, given)| expected.starts_with('{') || expected == given)
}

fn against(operation: &'static Value, method: &Method, answer: &Answer, found: &mut Vec<String>) {
    let response = resolve(&operation["responses"][answer.status.to_string()]);
    if response.is_null() {
        return found.push("the status is not documented".to_owned());
    }
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let there = answer.headers.contains_key(name.as_str());
        if !there && resolve(header)["required"] == true {
            found.push(format!("the header {name} is missing"));
        }
    }
    let content = response["content"].as_object();
    let Some(content) = content else {
        return expect(answer.body.is_empty(), "a body that is not documented", found);
    };
    let essence = answer.header("content-type").split(';').next().unwrap_or_default();
    let taken = content.iter().find(|(range, _)| {
        let range = range.as_str();
        range == essence || range == "*/*" || (range == "image/*" && essence.starts_with("image/"))
    });
    let Some((_, media)) = taken else {
        return found.push(format!("the media type {essence} is not documented"));
    };
    if *method != Method::HEAD && essence.ends_with("json") {
        match serde_json::from_slice(&answer.body) {
            Ok(value) => compare(&DOCUMENT, &media["schema"], &value, "", found),
            Err(error) => found.push(format!("no JSON: {error}")),
        }
    }
}

/// Follows a reference within the document.
pub fn resolve(part: &'static Value) -> &'static Value {
    json_schema::resolve(&DOCUMENT, part)
}
