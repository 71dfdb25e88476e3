//! An OTLP receiver for tests: takes spans over HTTP as protobuf, and gives them back in plain types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as WireSpan;
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One span as it was exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; empty for the root of a trace.
    pub parent_span_id: String,
    /// What was done.
    pub name: String,
    /// `service.name` of the resource; empty when there is none.
    pub service: String,
    /// The span's own attributes.
    pub attributes: BTreeMap<String, Value>,
    /// When it began.
    pub start: SystemTime,
    /// When it was over.
    pub end: SystemTime,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// Collects what services export. Dropping it closes the port.
pub struct TraceCollector {
    address: SocketAddr,
    spans: Spans,
    server: JoinHandle<()>,
}

impl TraceCollector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let spans = Spans::default();
        let routes = Router::new()
            .route("/v1/traces", post(receive))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the trace collector ended: {error}");
            }
        });
        Self {
            address,
            spans,
            server,
        }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` would say: the address without `/v1/traces`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything received so far, in that order.
    pub fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for TraceCollector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(spans): State<Spans>, body: Bytes) -> Response {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, "no export request").into_response();
    };
    let mut received = Vec::new();
    for resource_spans in request.resource_spans {
        let mut resource = resource_spans.resource.map(attributes).unwrap_or_default();
        let service = resource
            .remove("service.name")
            .map(|value| text(&value))
            .unwrap_or_default();
        let spans = resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        received.extend(spans.map(|span| from_wire(span, &service)));
    }
    spans
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(received);
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
}

fn from_wire(span: WireSpan, service: &str) -> Span {
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        name: span.name,
        service: service.to_owned(),
        attributes: pairs(span.attributes),
        start: SystemTime::UNIX_EPOCH + Duration::from_nanos(span.start_time_unix_nano),
        end: SystemTime::UNIX_EPOCH + Duration::from_nanos(span.end_time_unix_nano),
    }
}

fn attributes(
    resource: opentelemetry_proto::tonic::resource::v1::Resource,
) -> BTreeMap<String, Value> {
    pairs(resource.attributes)
}

fn pairs(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    pairs
        .into_iter()
        .map(|pair| (pair.key, plain(pair.value)))
        .collect()
}

fn plain(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(flag)) => flag.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::BytesValue(bytes)) => hex(&bytes).into(),
        Some(Any::ArrayValue(array)) => array
            .values
            .into_iter()
            .map(|value| plain(Some(value)))
            .collect(),
        Some(Any::KvlistValue(list)) => Value::Object(pairs(list.values).into_iter().collect()),
        Some(_) | None => Value::Null,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
