//! Metrics with descriptions, and counters that exist before their first event.
//!
//! A crate lists its metrics as [`Meter`]s. `docs/metrics.md` has the same list for people, and a test compares the two.
//! A counter that appears with its first event shows no increase: an alert on the first panic would not fire.

use metrics::Label;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label and all of its values.
pub type Values = (&'static str, &'static [&'static str]);

/// A metric as `/metrics` describes it.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pub kind: Kind,
    pub name: &'static str,
    pub help: &'static str,
    /// None: a label has values that are not known in advance.
    labels: Option<&'static [Values]>,
}

impl Meter {
    /// A counter with these labels; each combination of their values exists from the start.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [Values]) -> Self {
        Self { kind: Kind::Counter, name, help, labels: Some(labels) }
    }

    /// A counter whose labels have values that are not known in advance.
    #[must_use]
    pub const fn open_counter(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Counter, name, help, labels: None }
    }

    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Gauge, name, help, labels: None }
    }

    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Histogram, name, help, labels: None }
    }

    /// Whether its series exist before the first event.
    #[must_use]
    pub const fn begins_at_zero(&self) -> bool {
        self.labels.is_some()
    }

    fn describe(&self) {
        let Self { kind, name, help, labels } = *self;
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, help),
        }
        if let Some(labels) = labels {
            zero(name, labels, &mut Vec::new());
        }
    }
}

/// Registers a counter with every combination of these labels' values.
fn zero(name: &'static str, labels: &[Values], chosen: &mut Vec<Label>) {
    let Some(((label, values), rest)) = labels.split_first() else {
        // Registers the series without counting.
        metrics::counter!(name, chosen.clone()).increment(0);
        return;
    };
    for value in *values {
        chosen.push(Label::from_static_parts(label, value));
        zero(name, rest, chosen);
        chosen.pop();
    }
}

/// The metrics of every process.
pub const METERS: &[Meter] = &[
    Meter::gauge("greenroom_build_info", "Always 1; the labels say which build runs."),
    Meter::gauge("greenroom_dependency_up", "Whether a dependency of this process is up, as /readyz says."),
    Meter::gauge("greenroom_db_connections", "Connections of the pool to the database, by use."),
    Meter::counter(
        "greenroom_db_retries_total",
        "Transactions repeated after a serialization failure or deadlock.",
        &[],
    ),
    Meter::histogram(
        "greenroom_grpc_duration_seconds",
        "Time to answer a gRPC call, by method and status code.",
    ),
    Meter::open_counter("greenroom_passes_total", "Background passes, by result."),
    Meter::histogram("greenroom_pass_duration_seconds", "Time that a background pass took."),
    Meter::gauge("greenroom_pass_last_success_timestamp_seconds", "Unix time of the last successful pass."),
    Meter::counter(
        "greenroom_task_panics_total",
        "Panics of requests, calls and background tasks.",
        &[("task", TASKS)],
    ),
];

/// The tasks of every process, and the handling of requests.
pub const TASKS: &[&str] = &[
    "grpc call",
    "grpc server",
    "health",
    "http connection",
    "http request",
    "http server",
    "listen",
    "metrics upkeep",
    "operations port",
    "readiness",
];

/// The process's metrics; repeated calls return the same ones.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
            let recorder = match builder {
                Ok(builder) => builder.build_recorder(),
                // Not reached, because the buckets are not empty.
                Err(_) => PrometheusBuilder::new().build_recorder(),
            };
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            METERS.iter().for_each(Meter::describe);
            metrics_process::Collector::default().describe();
            metrics::gauge!("greenroom_build_info", build()).set(1.0);
            handle
        })
        .clone()
}

/// Describes the metrics of a service and sets its counters to 0, also the panics of each of `tasks`.
pub fn describe(meters: &[Meter], tasks: &'static [&'static str]) {
    let _recorder = metrics();
    meters.iter().for_each(Meter::describe);
    zero("greenroom_task_panics_total", &[("task", tasks)], &mut Vec::new());
}

/// Sets a pass's counters to 0 when the pass is set up, before its first end.
pub fn begin_pass(name: &'static str) {
    for result in ["ok", "failed"] {
        metrics::counter!("greenroom_passes_total", "pass" => name, "result" => result).increment(0);
    }
    metrics::counter!("greenroom_task_panics_total", "task" => name).increment(0);
}

/// Counts a panic that was caught in `task`.
pub fn count_panic(task: &'static str) {
    metrics::counter!("greenroom_task_panics_total", "task" => task).increment(1);
}

/// The text of `/metrics`, with the operating system's data about this process.
#[must_use]
pub fn render(handle: &PrometheusHandle) -> String {
    metrics_process::Collector::default().collect();
    handle.run_upkeep(); // makes descriptions visible
    handle.render()
}

fn build() -> Vec<Label> {
    let mut labels = vec![Label::from_static_parts("version", env!("CARGO_PKG_VERSION"))];
    if let Some(revision) = option_env!("GREENROOM_REVISION").filter(|revision| !revision.is_empty()) {
        labels.push(Label::from_static_parts("revision", revision));
    }
    labels
}
