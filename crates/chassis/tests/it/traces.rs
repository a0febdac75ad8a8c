//! W3C trace context is passed from one hop to the next; and which spans are exported.

use std::time::Duration;

use chassis::{
    lifecycle::Lifecycle,
    reconcile::{self, Nudge},
    telemetry::{self, Trace},
};
use http::HeaderMap;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor, SpanData};
use tracing::{Span, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A subscriber of this thread that exports spans as a process does.
fn exporting() -> (InMemorySpanExporter, DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let processor = telemetry::QuietPasses::before(SimpleSpanProcessor::new(exporter.clone()));
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    (exporter, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

/// Returns the `traceparent` that a hop sends when it received these headers.
async fn hop(inbound: &HeaderMap) -> String {
    let work = async {
        let mut outbound = HeaderMap::new();
        telemetry::carry_trace(&Span::none(), &mut outbound);
        outbound["traceparent"].to_str().unwrap().to_owned()
    };
    Trace::carried_by(inbound).run(tracing::info_span!("hop"), work).await
}

async fn check_hops() {
    let mut inbound = HeaderMap::new();
    inbound.insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    let sent = hop(&inbound).await;
    assert!(sent.contains(TRACE) && sent.ends_with("-01"), "{sent}");
    assert!(!sent.contains("00f067aa0ba902b7"), "{sent}");
    let (one, other) = (hop(&HeaderMap::new()).await, hop(&HeaderMap::new()).await);
    assert_ne!(one[3..35], other[3..35], "a request without a trace starts its own");
}

#[tokio::test]
async fn traces_continue_under_a_new_span() {
    let (exporter, _guard) = exporting();
    check_hops().await;
    assert_eq!(exporter.get_finished_spans().unwrap().len(), 3);
}

#[tokio::test]
async fn traces_continue_without_an_exporter() {
    check_hops().await;
}

#[tokio::test]
async fn clients_have_spans_only_in_a_trace() {
    let (_exporter, _guard) = exporting();
    assert!(telemetry::client(|| tracing::info_span!("call")).is_disabled());
    let inside = async { telemetry::client(|| tracing::info_span!("call")).is_disabled() };
    assert!(!Trace::carried_by(&HeaderMap::new()).run(tracing::info_span!("request"), inside).await);
}

/// Returns the exported spans of two runs of a pass.
async fn spans_of(work: fn() -> Result<(), sqlx::Error>) -> Vec<SpanData> {
    let (exporter, _guard) = exporting();
    let lifecycle = Lifecycle::new();
    let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let nudge = Nudge::default();
    let again = nudge.clone();
    reconcile::spawn_periodic(&lifecycle, "test", Duration::from_hours(1), nudge, move || {
        let ran = ran.clone();
        async move {
            tracing::info_span!("step").in_scope(|| ());
            let _ = ran.send(());
            work()
        }
    });
    runs.recv().await.unwrap();
    again.now(); // the second run starts after the first has ended
    runs.recv().await.unwrap();
    lifecycle.stop(Duration::from_secs(5)).await;
    exporter.get_finished_spans().unwrap()
}

#[tokio::test]
async fn passes_have_spans_only_when_they_matter() {
    assert_eq!(spans_of(|| Ok(())).await, []);
    let changes = || {
        telemetry::mark_pass_changed();
        Ok(())
    };
    let logs = || {
        tracing::info!("something changed");
        Ok(())
    };
    for work in [changes, logs, || Err(sqlx::Error::RowNotFound), || panic!("on purpose")] {
        let spans = spans_of(work).await;
        let passes: Vec<_> = spans.iter().filter(|span| span.name == "pass test").collect();
        assert_eq!(passes.len(), 2, "{spans:#?}");
        let steps = spans.iter().filter(|span| span.name == "step");
        for step in steps {
            assert!(passes.iter().any(|pass| pass.span_context.span_id() == step.parent_span_id));
        }
    }
    let failed = spans_of(|| Err(sqlx::Error::RowNotFound)).await;
    let failed = failed.iter().find(|span| span.name == "pass test").unwrap();
    assert!(matches!(failed.status, opentelemetry::trace::Status::Error { .. }), "{failed:?}");
}
