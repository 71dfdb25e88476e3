//! Spans sent as OTLP over HTTP come back in plain types.

use std::time::Duration;

use crier_testkit::{HttpClient, TraceCollector};
use hyper::{Method, Request};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue {
        key: key.to_owned(),
        value,
        ..KeyValue::default()
    }
}

#[tokio::test]
async fn what_is_exported_is_given_back() {
    let collector = TraceCollector::start().await;
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        name: "deliver".to_owned(),
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_500,
        attributes: vec![
            pair("event.count", Value::IntValue(3)),
            pair("ok", Value::BoolValue(true)),
        ],
        ..Span::default()
    };
    let name = pair(
        "service.name",
        Value::StringValue("crier-gateway".to_owned()),
    );
    let resource = Resource {
        attributes: vec![name],
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans {
        spans: vec![span],
        ..ScopeSpans::default()
    }];
    let of_gateway = ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..ResourceSpans::default()
    };
    let export = ExportTraceServiceRequest {
        resource_spans: vec![of_gateway],
    };

    let client = HttpClient::new(collector.endpoint());
    let url = format!("{}/v1/traces", collector.endpoint());
    let request = Request::post(&url).header("content-type", "application/x-protobuf");
    let request = request
        .body(export.encode_to_vec().into())
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/x-protobuf")
    );

    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    let span = &spans[0];
    assert_eq!(span.trace_id, "ab".repeat(16));
    assert_eq!(
        (span.span_id.as_str(), span.parent_span_id.as_str()),
        ("0101010101010101", "0202020202020202")
    );
    assert_eq!(
        (span.name.as_str(), span.service.as_str()),
        ("deliver", "crier-gateway")
    );
    assert_eq!(span.attributes["event.count"], 3);
    assert_eq!(span.attributes["ok"], true);
    let lasted = span
        .end
        .duration_since(span.start)
        .expect("it ends after it starts");
    assert_eq!(lasted, Duration::from_nanos(2_500));

    let refused = client
        .call(Method::POST, "/v1/traces", Some("no protobuf".into()))
        .await;
    assert_eq!(refused.expect("an answer").status, 400);
}
