//! W3C trace context goes from one hop to the next.

use chassis::telemetry;
use http::HeaderMap;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn the_trace_of_the_caller_goes_on_under_a_new_span() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut inbound = HeaderMap::new();
        inbound.insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
        let span = tracing::info_span!("hop");
        telemetry::continue_trace(&span, &inbound);
        let mut outbound = HeaderMap::new();
        span.in_scope(|| telemetry::carry_trace(&mut outbound));
        let told = outbound["traceparent"].to_str().unwrap();
        assert!(told.contains(trace), "{told}");
        assert!(!told.contains("00f067aa0ba902b7"), "{told}");
    });
}
