//! The OpenAPI document: complete, sound, and where it should be. That it is true, every other
//! test shows: `support::contract` compares each answer with it.

use std::collections::BTreeSet;

use natter::internals::filters::{Access, Body, Class};
use serde_json::Value;

use crate::support::contract::{DOCUMENT, resolve};
use crate::support::json_schema::compare;
use crate::support::{Answer, TestApp};

const PROBLEM: &str = "application/problem+json";

/// Every operation: `GET /path`, and what is said of it.
fn operations() -> Vec<(String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths").iter();
    let each = paths.flat_map(|(path, verbs)| {
        let verbs = verbs.as_object().expect("operations").iter();
        verbs.map(move |(verb, it)| (format!("{} {path}", verb.to_uppercase()), it))
    });
    each.collect()
}

/// The responses of an operation by status.
fn responses(operation: &'static Value) -> Vec<(&'static str, &'static Value)> {
    let responses = operation["responses"].as_object().expect("responses").iter();
    responses.map(|(status, response)| (status.as_str(), resolve(response))).collect()
}

/// The codes that an operation may fail with.
fn codes(operation: &'static Value) -> BTreeSet<&'static str> {
    let examples = responses(operation).into_iter().flat_map(|(_, response)| {
        response["content"][PROBLEM]["examples"].as_object().into_iter().flatten()
    });
    examples.map(|(code, _)| code.as_str()).collect()
}

#[test]
fn every_row_of_the_table_is_described_and_nothing_else() {
    let table = natter::internals::table();
    let rows: BTreeSet<String> =
        table.iter().map(|row| format!("{} {}", row.verb.as_str(), row.path)).collect();
    let described: BTreeSet<String> = operations().into_iter().map(|(name, _)| name).collect();
    assert_eq!(described, rows, "`describe` in the route's file");
}

#[test]
fn what_follows_from_a_row_is_in_its_description() {
    for row in natter::internals::table() {
        let verb = row.verb.as_str();
        let operation = &DOCUMENT["paths"][row.path][verb.to_lowercase()];
        let (codes, bearer) = (codes(operation), row.access != Access::Public);
        let ways = match row.access {
            Access::Public => 0,
            Access::Bearer => 1,
            Access::OptionalBearer => 2,
        };
        let expected = [
            (true, "malformed_request"),
            (true, "method_not_allowed"),
            (true, "request_timeout"),
            (true, "internal"),
            (bearer, "missing_token"),
            (bearer, "invalid_token"),
            (bearer, "token_expired"),
            (bearer, "session_revoked"),
            (row.path.contains('{'), "not_found"),
            (row.class.is_some(), "rate_limited"),
            (row.body != Body::None, "payload_too_large"),
            (row.body != Body::None, "unsupported_media_type"),
            (row.body != Body::None, "validation_failed"),
            (matches!(row.body, Body::Json { .. }), "malformed_json"),
            (row.body == Body::Multipart, "malformed_multipart"),
        ];
        for (_, code) in expected.iter().filter(|(applies, _)| *applies) {
            assert!(codes.contains(code), "{verb} {}: {code}", row.path);
        }
        assert_eq!(operation["security"].as_array().map(Vec::len), Some(ways), "{}", row.path);
        assert_eq!(operation.get("requestBody").is_some(), row.body != Body::None, "{}", row.path);
        let class = row.class.map(Class::name);
        assert_eq!(operation["x-rate-limit-class"].as_str(), class, "{verb} {}", row.path);
    }
}

#[test]
fn the_codes_are_those_of_the_documents() {
    let used: BTreeSet<&str> = operations().iter().flat_map(|(_, it)| codes(it)).collect();
    let words = include_str!("../../docs/api.md");
    let table = words.split("## Errors").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = table
        .expect("the errors")
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"));
    let cells = rows.filter_map(|line| line.split('|').nth(2));
    let listed: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(used, listed, "docs/api.md");
}

/// Every reference in a value.
pub fn references(value: &'static Value, found: &mut Vec<&'static str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_sound() {
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    let mut found = Vec::new();
    references(&DOCUMENT, &mut found);
    assert!(found.len() > 100, "the document is empty");
    for reference in found {
        let target = reference.strip_prefix('#').and_then(|pointer| DOCUMENT.pointer(pointer));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
    let operations = operations();
    let ids: BTreeSet<&str> =
        operations.iter().filter_map(|(_, it)| it["operationId"].as_str()).collect();
    assert_eq!(ids.len(), operations.len(), "an operationId stands twice, or is missing");
    let tags = DOCUMENT["tags"].as_array().expect("tags");
    let tags: BTreeSet<&str> = tags.iter().filter_map(|tag| tag["name"].as_str()).collect();
    for (name, operation) in operations {
        assert!(tags.contains(operation["tags"][0].as_str().unwrap_or_default()), "{name}");
        assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{name}");
        let of_path = name.matches('{').count();
        let parameters = operation["parameters"].as_array().expect("parameters");
        let in_path = parameters.iter().filter(|it| it["in"] == "path" && it["required"] == true);
        assert_eq!(in_path.count(), of_path, "{name}");
        for parameter in parameters {
            example_fits(&parameter["schema"], &parameter["example"], &name);
            assert!(!parameter["description"].as_str().unwrap_or_default().is_empty(), "{name}");
        }
    }
}

fn example_fits(schema: &'static Value, example: &Value, what: &str) {
    example_of(&DOCUMENT, schema, example, what);
}

/// Expects an example in this document to be one of its schema, and made of real texts.
pub fn example_of(document: &'static Value, schema: &'static Value, example: &Value, what: &str) {
    let mut found = Vec::new();
    compare(document, schema, example, "", &mut found);
    assert!(found.is_empty(), "{what}: the example {example:#}: {found:#?}");
    // What `examples.rs` writes for a text without an example.
    assert!(
        !example.to_string().contains("\"string\""),
        "{what}: a text without example: {example:#}"
    );
}

fn contents_fit(part: &'static Value, what: &str) {
    for (media_type, media) in part["content"].as_object().into_iter().flatten() {
        assert!(media["schema"].is_object(), "{what}: {media_type} without schema");
        let several = media["examples"].as_object();
        let several = several.into_iter().flatten().map(|(_, example)| &example["value"]);
        let examples: Vec<&Value> = media.get("example").into_iter().chain(several).collect();
        assert!(!examples.is_empty(), "{what}: {media_type} without example");
        for example in examples {
            example_fits(&media["schema"], example, what);
        }
    }
}

#[test]
fn every_body_has_a_schema_and_an_example_that_fits_it() {
    for (name, operation) in operations() {
        contents_fit(&operation["requestBody"], &name);
        let responses = responses(operation);
        assert!(
            responses.iter().any(|(status, _)| status.starts_with('2') || *status == "101"),
            "{name}: no success"
        );
        for (status, response) in responses {
            let what = format!("{name}: {status}");
            contents_fit(response, &what);
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{what}");
            assert!(response["headers"]["X-Request-Id"].is_object(), "{what}");
            if status.starts_with(['4', '5']) && !name.contains("/readyz") {
                assert!(response["content"][PROBLEM].is_object(), "{what}");
            }
        }
    }
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().expect("schemas") {
        example_fits(schema, &schema["examples"][0], name);
    }
}

/// Expects this document at `/NAME.json`, and from `natter NAME`.
pub async fn served_and_printed(name: &str, document: &Value) {
    let app = TestApp::spawn().await;
    let served = app.get(&format!("/{name}.json")).await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.ok(200), *document);
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_natter")).arg(name).output();
    let printed = printed.expect("natter runs");
    assert!(printed.status.success());
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(printed, *document);
}

#[tokio::test]
async fn the_document_is_served_and_printed() {
    served_and_printed("openapi", &DOCUMENT).await;
}

/// What a directive of a policy allows.
fn allows<'a>(policy: &'a str, directive: &str) -> &'a str {
    let rules = policy.split("; ").filter_map(|rule| rule.split_once(' '));
    rules.into_iter().find(|(name, _)| *name == directive).map_or("", |(_, allowed)| allowed)
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere_and_allows_nothing_else() {
    let app = TestApp::spawn().await;
    let answer: Answer = app.get("/docs").await;
    let (policy, page) = (answer.header("content-security-policy"), answer.text());
    let nonce = allows(policy, "script-src").trim_matches('\'').strip_prefix("nonce-");
    let nonce = nonce.expect("a nonce");
    assert!(nonce.len() >= 16, "{policy}");
    assert_eq!(allows(policy, "style-src"), format!("'nonce-{nonce}'"));
    assert_eq!(
        (allows(policy, "default-src"), allows(policy, "connect-src")),
        ("'none'", "'self'")
    );
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    for tag in ["<script", "<style"] {
        let (all, ours) = (page.matches(tag).count(), format!("{tag} nonce=\"{nonce}\">"));
        assert_eq!((all, page.matches(&ours).count()), (1, 1), "{tag}");
    }
    for inline in
        [" style=", " onclick=", "javascript:", "innerHTML", "eval(", "http://", "https://"]
    {
        assert!(!page.contains(inline), "{inline}");
    }
    assert!(!page.contains("{nonce}") && !page.contains("{script}") && !page.contains("{style}"));
    let again = app.get("/docs").await;
    assert!(!again.header("content-security-policy").contains(nonce), "the nonce stands twice");
}

/// What generators of clients leave out or call `Any`: bodies of several schemas, problems that
/// are merged from parts, and ranges of media types.
#[test]
fn generators_of_clients_find_types_for_everything() {
    for (name, operation) in operations() {
        for (_, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            for several in ["anyOf", "oneOf", "allOf"] {
                assert_eq!(media["schema"].get(several), None, "{name}");
            }
            assert_eq!(media["schema"]["type"], "object", "{name}");
        }
        for (status, response) in responses(operation) {
            let Some(content) = response["content"].as_object() else { continue };
            if let Some(problem) = content.get(PROBLEM) {
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{name}");
                assert_eq!(problem["schema"]["properties"]["status"]["const"].to_string(), status);
            }
            let is_known = content.keys().any(|media_type| !media_type.contains('*'));
            assert!(is_known, "{name}: {status}");
        }
    }
}
