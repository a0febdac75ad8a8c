//! Logs, traces and metrics of a process.
//!
//! Logs go to stderr (stdout belongs to `ready …` and to command output), one line each, with the ids of the trace and
//! of the request that it belongs to ([`lines`]). When an OTLP endpoint is set, spans go there ([`export`]); without
//! one there are no spans, but every request and pass still has a trace id ([`traces`]). Metrics are Prometheus
//! ([`meters`]), served by [`crate::ops`].

mod export;
mod lines;
pub mod meters;
mod passes;
mod traces;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Process;

pub use lines::Lines;
pub use meters::metrics;
pub use passes::{QuietPasses, mark_pass_changed};
pub use traces::{Trace, carry_trace, client, is_traced, pass};

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
        let env = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
        let logs = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .event_format(lines::Lines { json: process.json_logs })
            .with_filter(env);
        let provider = process.otlp.as_ref().map(|otlp| export::provider(service, otlp)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(service))
                // Each of these three would add attributes to every span.
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(export::Wanted::default())
        });
        tracing_subscriber::registry().with(logs).with(traces).try_init()?;
        // After the subscriber, which the hook needs.
        std::panic::set_hook(Box::new(lines::log_panic));
        Ok(Self(provider))
    }

    /// Sends the remaining traces. Also called on error paths.
    pub fn flush(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
