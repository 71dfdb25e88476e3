//! What handlers say of themselves: each extractor and each answer adds its part to the description of the operation,
//! so that OpenAPI says what the code does because it is read off the code's types.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use crier_service_kit::problem::{PROBLEM_JSON, Problem, ValidJson, ValidPath, ValidQuery};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::state::State;

/// Where components are in the document.
const COMPONENTS: &str = "/components/schemas";

/// The schemas of a document while it is written. Requests and answers differ: an answer always has all its fields.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = COMPONENTS.into();
            // A document has one dialect, which is OpenAPI's own.
            settings.meta_schema = None;
            settings
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// All that were named, by their names.
    pub(super) fn components(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

/// Whose token an operation takes.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    /// A person's.
    User,
    /// The application's own backend's.
    Service,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }

    /// Both, as the document defines them.
    pub(super) fn definitions() -> Value {
        let token = |description| {
            json!({
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description,
            })
        };
        json!({
            Self::User.name(): token("A person's token: `sub` is the user's id."),
            Self::Service.name(): token("The application's own backend: `scope` holds `service`."),
        })
    }
}

/// One operation while it is described.
pub(super) struct Operation<'a> {
    schemas: &'a mut Schemas,
    /// The names in the path, in order.
    path: Vec<&'a str>,
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: BTreeMap<u16, Value>,
    security: Vec<Scheme>,
}

impl<'a> Operation<'a> {
    pub(super) fn new(schemas: &'a mut Schemas, path: &'a str) -> Self {
        let names = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?;
            name.strip_suffix('}')
        });
        Self {
            schemas,
            path: names.collect(),
            parameters: Vec::new(),
            body: None,
            responses: BTreeMap::new(),
            security: Vec::new(),
        }
    }

    /// It needs one of these tokens.
    pub(super) fn needs_token(&mut self, schemes: &[Scheme]) {
        self.security = schemes.to_vec();
        self.refuses(&[401, 403, 429]);
    }

    /// It may be refused with these statuses, as problems.
    pub(super) fn refuses(&mut self, statuses: &[u16]) {
        for status in statuses {
            let refusal = json!({"$ref": format!("#/components/responses/{status}")});
            self.responses.entry(*status).or_insert(refusal);
        }
    }

    /// It answers so when it did what was asked.
    pub(super) fn answers<T: JsonSchema>(&mut self, status: StatusCode) {
        let schema = self.schemas.answers.subschema_for::<T>();
        let content = json!({"application/json": {"schema": schema}});
        self.responds(status, Some(content));
    }

    /// The schema of what it answers with.
    pub(super) fn schema_of_answer<T: JsonSchema>(&mut self) -> Value {
        self.schemas.answers.subschema_for::<T>().to_value()
    }

    /// It answers without a body.
    pub(super) fn answers_nothing(&mut self, status: StatusCode) {
        self.responds(status, None);
    }

    /// It answers with content of another kind.
    pub(super) fn responds(&mut self, status: StatusCode, content: Option<Value>) {
        let description = status.canonical_reason().unwrap_or_default();
        let mut response = json!({"description": description});
        if let (Some(content), Some(response)) = (content, response.as_object_mut()) {
            response.insert("content".to_owned(), content);
        }
        self.responses.insert(status.as_u16(), response);
    }

    /// It takes a body of this media type.
    pub(super) fn takes<T: JsonSchema>(&mut self, media_type: &str) {
        let schema = self.schemas.requests.subschema_for::<T>();
        self.body = Some(json!({"required": true, "content": {media_type: {"schema": schema}}}));
    }

    /// It looks at this header.
    pub(super) fn reads_header(&mut self, name: &str, description: &str, schema: &Value) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": schema,
        }));
    }

    fn takes_path<T: JsonSchema>(&mut self) {
        let schema = self.schemas.requests.subschema_for::<T>();
        // The schema of several is that of a tuple.
        let schemas = match schema.get("prefixItems").and_then(Value::as_array) {
            Some(several) => several.clone(),
            None => vec![schema.to_value()],
        };
        for (name, schema) in self.path.iter().zip(schemas) {
            self.parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        }
    }

    fn takes_query<T: JsonSchema>(&mut self) {
        let schema = T::json_schema(&mut self.schemas.requests);
        let required = listed(&schema, "required");
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let mut schema = schema.clone();
            let description = match schema.as_object_mut() {
                Some(schema) => schema.remove("description"),
                None => None,
            };
            let mut parameter = json!({
                "name": name, "in": "query", "required": required.contains(&name.as_str()),
                "schema": without_null(schema),
            });
            if let (Some(text), Some(parameter)) = (description, parameter.as_object_mut()) {
                parameter.insert("description".to_owned(), text);
            }
            self.parameters.push(parameter);
        }
    }

    /// The operation as the document holds it.
    pub(super) fn finish(mut self) -> Value {
        // Whatever it does, the service may be too busy or without its database.
        self.refuses(&[503]);
        let responses: Map<String, Value> = self
            .responses
            .into_iter()
            .map(|(status, response)| (status.to_string(), response))
            .collect();
        let mut operation = Map::new();
        if !self.parameters.is_empty() {
            operation.insert("parameters".to_owned(), self.parameters.into());
        }
        if let Some(body) = self.body {
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), responses.into());
        if !self.security.is_empty() {
            let either = self
                .security
                .iter()
                .map(|scheme| json!({scheme.name(): []}));
            operation.insert("security".to_owned(), either.collect());
        }
        operation.into()
    }
}

fn listed<'s>(schema: &'s Schema, name: &str) -> Vec<&'s str> {
    let list = schema.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// A parameter that is left out is not there; it is never null.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("type".to_owned(), only);
            }
        }
    }
    schema
}

/// An extractor or an answer that can say what it means for the operation.
pub(super) trait Describe {
    fn describe(operation: &mut Operation<'_>);
}

/// A handler whose parts can all be described. `Parts` are the types of its parameters.
pub(super) trait Documented<Parts> {
    fn describe(operation: &mut Operation<'_>);
}

macro_rules! documented {
    ($($part:ident)*) => {
        impl<F, Fut, $($part,)*> Documented<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Fut,
            Fut: Future,
            Fut::Output: Describe,
            $($part: Describe,)*
        {
            fn describe(operation: &mut Operation<'_>) {
                $($part::describe(operation);)*
                Fut::Output::describe(operation);
            }
        }
    };
}

documented!();
documented!(A);
documented!(A B);
documented!(A B C);
documented!(A B C D);
documented!(A B C D E);
documented!(A B C D E G);

impl Describe for extract::State<Arc<State>> {
    fn describe(_: &mut Operation<'_>) {}
}

impl<T: JsonSchema> Describe for ValidPath<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_path::<T>();
        operation.refuses(&[404]);
    }
}

impl<T: JsonSchema> Describe for ValidQuery<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_query::<T>();
        operation.refuses(&[422]);
    }
}

impl<T: JsonSchema> Describe for ValidJson<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes::<T>("application/json");
        operation.refuses(&[400, 413, 415, 422]);
    }
}

impl<T: Describe> Describe for Result<T, Problem> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl<T: JsonSchema> Describe for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answers::<T>(StatusCode::OK);
    }
}

/// What the components are called that all refusals are made of, with the statuses there are.
pub(super) fn refusals() -> Map<String, Value> {
    let described = [
        (400, "Malformed, or against a rule."),
        (401, "No valid token."),
        (403, "The caller is known, and this is not theirs to do."),
        (404, "Not there, or not for this caller to know of."),
        (409, "Against what is there."),
        (413, "Larger than the service or the log takes."),
        (415, "Not the media type that is needed."),
        (
            422,
            "A value is wrong: unknown field, wrong type, too long, out of range.",
        ),
        (429, "Too many calls; Retry-After says when to come back."),
        (
            503,
            "Too busy, or without the database; Retry-After says when to come back.",
        ),
    ];
    let refusal = |(status, description): (u16, &str)| {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let mut response = json!({
            "description": description,
            "content": {PROBLEM_JSON: {"schema": schema}},
        });
        if let (true, Some(response)) = ([429, 503].contains(&status), response.as_object_mut()) {
            let seconds =
                json!({"schema": {"type": "integer", "minimum": 0}, "description": "Seconds."});
            response.insert("headers".to_owned(), json!({"Retry-After": seconds}));
        }
        (status.to_string(), response)
    };
    described.into_iter().map(refusal).collect()
}
