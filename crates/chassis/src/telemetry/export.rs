//! Exports spans: OTLP over gRPC, in plain text or over TLS.

use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SdkTracerProvider},
};
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::{Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    filter::Targets,
    layer::{Context, Filter},
};

use super::{Error, passes::QuietPasses};
use crate::config::Otlp;

pub(super) fn provider(service: &'static str, otlp: &Otlp) -> Result<SdkTracerProvider, Error> {
    let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&otlp.endpoint);
    if otlp.endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        exporter = exporter.with_tls_config(match &otlp.certificate {
            // Only this authority is trusted then, not the system's.
            Some(authority) => tls.ca_certificate(Certificate::from_pem(authority)),
            None => tls.with_native_roots(),
        });
    }
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let batches = BatchSpanProcessor::builder(exporter.build()?).build();
    Ok(SdkTracerProvider::builder()
        // Before the batches, because a batch cannot take a span back.
        .with_span_processor(QuietPasses::before(batches))
        .with_resource(resource)
        .build())
}

/// What is exported: our own spans down to `debug`, and log events from `info`.
///
/// This filter is evaluated for each span and event (its interest is never cached). With cached interest, a
/// `log_enabled!` that no record follows leaves stale filter bits, and the next span or log line of that thread is
/// dropped (tokio-rs/tracing#2519). The pools switch off sqlx's statement logging, which did this; the filter keeps
/// traces whole when another crate does it.
pub(super) struct Wanted {
    spans: Targets,
}

impl Default for Wanted {
    fn default() -> Self {
        let ours = ["gateway", "booking", "room_lifecycle", "token", "sync", "chassis"];
        let spans = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(ours.map(|target| (target, LevelFilter::DEBUG)));
        Self { spans }
    }
}

impl Wanted {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        if metadata.is_span() {
            self.spans.would_enable(metadata.target(), &level)
        } else {
            level <= LevelFilter::INFO
        }
    }
}

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Never `always`: that would be cached.
        if self.wants(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::{Layer, layer::SubscriberExt};

    use super::*;

    #[test]
    fn spans_survive_a_log_enabled_check() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::INFO);
        let both = tracing_subscriber::registry().with(logs).with(traces.with_filter(Wanted::default()));
        tracing::subscriber::with_default(both, || {
            for _ in 0..3 {
                let _ = tracing::enabled!(target: "sqlx::query", tracing::Level::DEBUG);
                tracing::info_span!(target: "gateway", "request").in_scope(|| ());
            }
        });
        assert_eq!(exporter.get_finished_spans().unwrap().len(), 3);
    }
}
