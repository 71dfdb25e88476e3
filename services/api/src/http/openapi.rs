//! The OpenAPI document, read off the route table, and a page to read it with. Both are for everyone: they say what
//! the source says.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, Response};
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};

use super::Route;
use super::describe::{Operation, Schemas, Scheme, refusals};

/// Where the document is.
pub(super) const DOCUMENT: &str = "/api/openapi.json";
/// Where the page is.
pub(super) const PAGE: &str = "/api/docs";
const PAGE_SCRIPT: &str = "/api/docs/page.js";
/// Where the page's parts are, which are compiled in.
const PARTS: &str = "/api/docs/swagger-ui";

/// The page loads what this service serves and calls nobody else; nothing that a URL holds becomes a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Crier API</title>
<link rel="stylesheet" href="/api/docs/swagger-ui/swagger-ui.css">
<div id="page"></div>
<script src="/api/docs/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/api/docs/page.js"></script>
</html>
"#;

const SCRIPT: &str = r##"SwaggerUIBundle({ url: "/api/openapi.json", dom_id: "#page", deepLinking: true });
"##;

/// What the document is made of once, when it is first asked for.
static RENDERED: LazyLock<Bytes> = LazyLock::new(|| {
    // Texts, numbers and lists of them: nothing in it that JSON can't hold.
    Bytes::from(serde_json::to_vec_pretty(&document(super::table())).unwrap_or_default())
});

/// The document and the page.
pub(super) fn router() -> Router {
    let document = || async { ([(CONTENT_TYPE, "application/json")], RENDERED.clone()) };
    let page = || async { ([(CONTENT_SECURITY_POLICY, POLICY)], Html(HTML)) };
    let script = || async { ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT) };
    let parts = generate_routes(ApiDefinition {
        uri_prefix: PARTS,
        api_definition: OpenApiSource::Uri(DOCUMENT),
        title: Some("Crier API"),
    });
    // The parts come with an index of their own, which writes the request's URL into itself: harmless under the policy.
    let guard = middleware::map_response(|response: Response| async move {
        let headers = [
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "max-age=3600"),
        ];
        (headers, response)
    });
    Router::new()
        .route(DOCUMENT, get(document))
        .route(PAGE, get(page))
        .route(PAGE_SCRIPT, get(script))
        .merge(parts.layer(guard))
}

/// The document for these routes.
pub(super) fn document(table: Vec<Route>) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in &table {
        let operation = described(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut components = schemas.components();
    components.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Crier API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This service. A trailing slash is optional in every path."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": refusals(),
            "securitySchemes": Scheme::definitions(),
        },
    })
}

const ABOUT: &str = "Records who follows what in private communities, and publishes what happens there. \
    Streams of events are the gateways': GET /events, Server-Sent Events. \
    Calls are made by users, or by the application's own backend with a token of scope `service`.";

/// One operation of the document.
fn described(route: &Route, schemas: &mut Schemas) -> Value {
    let mut operation = Operation::new(schemas, route.path);
    operation.refuses(route.refusals);
    (route.describe)(&mut operation);
    let mut operation = operation.finish();
    if let Some(operation) = operation.as_object_mut() {
        operation.insert("operationId".to_owned(), json!(route.name()));
        operation.insert("tags".to_owned(), json!([route.resource()]));
        operation.insert("summary".to_owned(), json!(route.summary));
    }
    operation
}

/// RFC 9457, as `service_kit::problem` writes it.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "description": "Stable: to be compared."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, for people."},
            "request_id": {"type": "string", "description": "Finds the call in the service's log."},
        },
    })
}
