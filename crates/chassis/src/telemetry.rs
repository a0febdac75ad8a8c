//! Logs, traces and metrics of a process.
//!
//! Logs go to stderr (stdout belongs to `ready …` and to command output). When an OTLP endpoint is set, traces go
//! there, and W3C trace context is carried over HTTP and gRPC, so that another system's trace goes on through us.
//! Metrics are Prometheus, served by [`crate::ops`].

use std::io::IsTerminal;

use http::HeaderMap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{EnvFilter, Layer, filter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Process;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the trace exporter cannot be built: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("telemetry is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Flushes traces when the process ends.
#[must_use]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sets up logs and traces for the process called `service`. Once per process.
    pub fn init(service: &'static str, process: &Process) -> Result<Self, Error> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let env = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
        let format = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let logs = if process.json_logs {
            format.json().flatten_event(true).with_span_list(false).boxed()
        } else {
            format.compact().boxed()
        };
        let provider =
            process.otlp_endpoint.as_deref().map(|endpoint| exporter(service, endpoint)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            // Spans of statements are `debug`: seen in traces, free when there are none.
            let ours = filter::Targets::new().with_default(LevelFilter::INFO).with_targets(
                ["gateway", "booking", "room_lifecycle", "token", "sync", "chassis"]
                    .map(|target| (target, LevelFilter::DEBUG)),
            );
            tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).with_filter(ours)
        });
        tracing_subscriber::registry().with(logs.with_filter(env)).with(traces).try_init()?;
        Ok(Self(provider))
    }

    /// Sends what is left; on error paths too.
    pub fn flush(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

fn exporter(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build())
}

/// The process's metrics; the same ones when called again.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
            let recorder = match builder {
                Ok(builder) => builder.build_recorder(),
                Err(_) => PrometheusBuilder::new().build_recorder(),
            };
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            handle
        })
        .clone()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(key), value.try_into()) {
            self.0.insert(name, value);
        }
    }
}

/// Makes `span` a child of the trace that `headers` carry (W3C `traceparent`), if any.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent: Context =
            global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
        let _ = span.set_parent(parent); // fails only without a trace layer, when there is nothing to go on with
    }
}

/// Writes the current trace into `headers`.
pub fn carry_trace(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeadersMut(headers));
    });
}
