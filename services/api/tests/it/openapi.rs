//! The OpenAPI document: as it was agreed on, whole in itself, and served with a page that asks nobody else.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::fixture::{Service, expect};

/// Where the agreed document is; `UPDATE_OPENAPI=1 cargo test -p crier-api openapi` writes it anew.
const AGREED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_document_is_the_agreed_one() {
    let document = format!("{:#}\n", crier_api::http::openapi());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(AGREED, &document).unwrap();
    }
    let agreed = std::fs::read_to_string(Path::new(AGREED)).unwrap();
    assert!(
        document == agreed,
        "the code's OpenAPI is not docs/openapi.json: if the change is meant, run \
         `UPDATE_OPENAPI=1 cargo test -p crier-api openapi` and read the difference"
    );
}

/// Every `$ref` in the document.
fn references<'d>(value: &'d Value, found: &mut BTreeSet<&'d str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => {
                        found.insert(target);
                    }
                    value => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_every_reference_leads_somewhere() {
    let document = crier_api::http::openapi();
    let mut names = BTreeSet::new();
    for (method, path) in crier_api::http::routes() {
        let method = method.as_str().to_lowercase();
        let operation = &document["paths"][path][&method];
        assert!(!operation["summary"].as_str().unwrap().is_empty());
        assert!(names.insert(operation["operationId"].as_str().unwrap()));
        let in_path = path.matches('{').count();
        let parameters = operation["parameters"].as_array();
        let described = parameters.into_iter().flatten();
        let described = described.filter(|parameter| parameter["in"] == "path");
        assert_eq!(described.count(), in_path, "{method} {path}");
    }
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(targets.len() > 20, "the check finds references");
    for target in targets {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_for_everyone_and_load_nothing_from_elsewhere() {
    let service = Service::start().await;
    let document = service.http.get("/api/openapi.json").await;
    assert_eq!(*expect(&document, 200), crier_api::http::openapi());

    let page = service.http.get("/api/docs/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'; script-src 'self';"));
    let text = page.text();
    assert!(!text.contains("://"), "{text}");
    let parts: Vec<&str> = text
        .split('"')
        .filter(|part| part.starts_with('/'))
        .collect();
    assert!(parts.len() >= 3, "{text}");
    for part in parts {
        let answer = service.http.get(part).await;
        assert_eq!(answer.status, 200, "{part}");
    }
    service.end().await;
}
