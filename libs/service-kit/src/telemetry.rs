//! Logs on standard error, traces over OTLP, and the `traceparent` that carries a trace on.
//!
//! Spans get trace ids whether or not they are exported, so a `traceparent` can always be written. The log's filter
//! decides what is logged and nothing else: traces hold every span of level info and above.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing::{Dispatch, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

mod export;
mod traceparent;

/// The W3C header that names a trace and a span in it.
pub const TRACEPARENT: &str = "traceparent";

/// The target of the access log, for filters: `info,crier::access=warn`.
pub const ACCESS_LOG: &str = "crier::access";

/// What is logged how, and where traces go.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// A filter as `info` or `info,crier_outbox=debug`.
    pub log: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// An OTLP collector's base URL, `http://localhost:4318`; traces are made and thrown away if absent.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Pretty,
            otlp_endpoint: None,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line, coloured on a terminal.
    Pretty,
    /// One JSON object.
    Json,
}

/// Why telemetry could not be started; each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log` is not a filter.
    #[error("telemetry.log is not a filter such as info or info,crier_outbox=debug: {0}")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// `otlp_endpoint` is not one.
    #[error(
        "telemetry.otlp_endpoint is {endpoint}; a URL such as http://localhost:4318 is expected (no TLS: put a collector nearby)"
    )]
    Endpoint {
        /// As it was given.
        endpoint: String,
    },
    /// The exporter could not be made.
    #[error("the trace exporter cannot be made: {0}")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Exporting needs a runtime to send on.
    #[error("traces can only be exported from within a tokio runtime")]
    NoRuntime,
    /// [`init`] was called before, or a library set a subscriber of its own.
    #[error("logging has already been set up in this process")]
    AlreadySet,
}

/// Keeps the exporter; [`shutdown`](Self::shutdown) sends what is still in its queue.
#[derive(Debug)]
#[must_use = "spans still queued are lost unless it is shut down"]
pub struct TelemetryGuard {
    provider: SdkTracerProvider,
}

impl TelemetryGuard {
    /// Sends the spans still queued, for `deadline` at most, and ends exporting.
    pub async fn shutdown(self, deadline: Duration) {
        let provider = self.provider;
        // Blocks a thread on the exporter's own, which in turn needs this runtime to send.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(deadline));
        match tokio::time::timeout(deadline, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::debug!(%error, "the last traces were not exported"),
            Ok(Err(_)) | Err(_) => tracing::debug!("the last traces were not exported in time"),
        }
    }
}

/// Sets up logs and traces for the whole process.
///
/// # Errors
/// [`TelemetryError`], one sentence.
pub fn init(
    config: &TelemetryConfig,
    service_name: &str,
) -> Result<TelemetryGuard, TelemetryError> {
    let (dispatch, guard) = build(config, service_name)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::AlreadySet)?;
    Ok(guard)
}

/// As [`init`], but sets nothing: for tests, where each thread may have its own.
///
/// # Errors
/// As [`init`].
pub fn build(
    config: &TelemetryConfig,
    service_name: &str,
) -> Result<(Dispatch, TelemetryGuard), TelemetryError> {
    let filter = EnvFilter::try_new(&config.log).map_err(TelemetryError::Filter)?;
    let resource = Resource::builder()
        .with_service_name(service_name.to_owned())
        .build();
    let mut provider = SdkTracerProvider::builder().with_resource(resource);
    if let Some(endpoint) = config
        .otlp_endpoint
        .as_deref()
        .filter(|url| !url.is_empty())
    {
        provider = provider.with_span_processor(export::processor(endpoint)?);
    }
    let provider = provider.build();

    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("crier"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(exported_spans());
    let subscriber = Registry::default()
        .with(log_layer(config.format).with_filter(filter))
        .with(traces);
    Ok((Dispatch::new(subscriber), TelemetryGuard { provider }))
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Pretty => Box::new(layer),
        LogFormat::Json => Box::new(
            layer
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false),
        ),
    }
}

/// Info and above, without what would make the exporter trace itself and without the log's own lines.
fn exported_spans() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_targets(
        ["hyper", "hyper_util", "h2", "opentelemetry", ACCESS_LOG]
            .map(|target| (target, LevelFilter::OFF)),
    )
}

/// The `traceparent` of the span this code runs in; none outside any span and before [`init`].
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current()).or_else(|| {
        // The current span may be for the log alone; then the nearest traced one around it counts.
        let context = opentelemetry::Context::current();
        traceparent::write(context.span().span_context())
    })
}

/// The `traceparent` of `span`, which is thereby begun: its parent can't be set any more.
pub fn traceparent_of(span: &Span) -> Option<String> {
    traceparent::write(span.context().span().span_context())
}

/// Makes `span` a child of the span that `traceparent` names in another process. To be called before `span` is
/// entered. A `traceparent` that is not well-formed is ignored, as the W3C asks; false says that it was not taken.
pub fn set_remote_parent(span: &Span, traceparent: &str) -> bool {
    let Some(parent) = traceparent::parse(traceparent) else {
        return false;
    };
    let context = opentelemetry::Context::new().with_remote_span_context(parent);
    span.set_parent(context).is_ok()
}

/// The trace's id in hexadecimal, for log lines.
pub(crate) fn trace_id_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span_context = span.span_context();
    span_context
        .is_valid()
        .then(|| span_context.trace_id().to_string())
}
