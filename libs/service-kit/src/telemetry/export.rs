//! Spans to a collector, in batches, over OTLP http/protobuf.
//!
//! The SDK's batch processor queues spans without blocking, drops them when its queue is full, and exports from a
//! thread of its own. That thread has no reactor, so each export is handed to the runtime. A collector that is down
//! costs a line a minute in the log and the spans, nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::TelemetryError;

const TRACES_PATH: &str = "/v1/traces";
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORT_EVERY: Duration = Duration::from_secs(1);
const QUEUED_SPANS: usize = 8192;
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A processor that exports to the collector at `endpoint`.
pub(super) fn processor(endpoint: &str) -> Result<BatchSpanProcessor, TelemetryError> {
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUED_SPANS)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    Ok(BatchSpanProcessor::builder(on_runtime(endpoint)?)
        .with_batch_config(config)
        .build())
}

fn on_runtime(endpoint: &str) -> Result<OnRuntime, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(endpoint)?)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(TelemetryError::Exporter)?;
    Ok(OnRuntime {
        exporter: Arc::new(exporter),
        runtime: Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?,
        complained: Mutex::new(None),
    })
}

fn traces_url(endpoint: &str) -> Result<String, TelemetryError> {
    let refused = || TelemetryError::Endpoint {
        endpoint: endpoint.to_owned(),
    };
    let uri: Uri = endpoint.parse().map_err(|_| refused())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(refused());
    }
    let base = endpoint.trim_end_matches('/');
    Ok(if base.ends_with(TRACES_PATH) {
        base.to_owned()
    } else {
        format!("{base}{TRACES_PATH}")
    })
}

#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
    complained: Mutex<Option<Instant>>,
}

impl OnRuntime {
    fn complain(&self, spans: usize, error: &OTelSdkError) {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            tracing::warn!(%error, spans, "traces are lost: the collector does not take them");
        }
    }
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exporter = Arc::clone(&self.exporter);
        let sending = self.runtime.spawn(async move {
            tokio::time::timeout(EXPORT_TIMEOUT, exporter.export(batch)).await
        });
        let result = match sending.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_TIMEOUT)),
            // The runtime is gone, and the process about to be.
            Err(_) => return Err(OTelSdkError::AlreadyShutdown),
        };
        if let Err(error) = &result {
            self.complain(spans, error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Called while the processor is built, before any export shares the exporter.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::{Layer, Registry};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            if event.metadata().target() == module_path!().trim_end_matches("::tests") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[tokio::test]
    async fn a_collector_that_is_down_is_mentioned_once() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let exporter = on_runtime(&format!("http://{address}")).unwrap();
        let lines = Lines::default();
        let subscriber = Registry::default().with(lines.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        for _ in 0..3 {
            assert!(exporter.export(Vec::new()).await.is_err());
        }
        assert_eq!(lines.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_path_is_added_to_a_base_url() {
        for (endpoint, url) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("http://c/otlp", "http://c/otlp/v1/traces"),
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
        ] {
            assert_eq!(traces_url(endpoint).unwrap(), url);
        }
    }
}
