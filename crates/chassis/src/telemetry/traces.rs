//! One trace from the client to LiveKit: W3C trace context over HTTP and gRPC.
//!
//! The current trace is OpenTelemetry's own context, whether spans are exported or not. With an exporter a span of
//! `tracing` sets it. Without one a request gets its ids here: those of its caller's `traceparent` or new ones, for
//! the log and for the next hop. That costs two random numbers instead of a span.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{
        FutureExt as _, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, WithContext,
    },
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument, Span, instrument::Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::passes::Pass;

/// The work of a request or a pass, as part of its trace.
pub type Traced<F> = WithContext<Instrumented<F>>;

/// Runs a pass in `span`, as a trace of its own. It is exported only if the pass changes something, fails or logs.
pub fn pass<F>(span: Span, work: F) -> Traced<F> {
    Trace(Context::new().with_value(Pass::default())).run(span, work)
}

/// Ids of a span that is not exported.
fn unexported(parent: &Context) -> Context {
    let span = SpanId::from(rand::random::<u64>());
    let caller = parent.span().span_context().clone();
    let ids = if caller.is_valid() {
        // The caller's sampling decision is kept, so that a trace is not recorded in part.
        SpanContext::new(caller.trace_id(), span, caller.trace_flags(), false, caller.trace_state().clone())
    } else {
        let trace = TraceId::from(rand::random::<u128>());
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
    };
    parent.with_remote_span_context(ids)
}

/// Whether there is a current trace for the span of a call or a statement. Outside of one (probes, start) no such spans
/// are created: each would be a separate trace.
#[must_use]
pub fn is_traced() -> bool {
    Context::map_current(TraceContextExt::has_active_span)
}

/// Creates the span of a call to another process with `make`, or none outside of a trace.
pub fn client(make: impl FnOnce() -> Span) -> Span {
    if is_traced() { make() } else { Span::none() }
}

/// Writes the current trace into `headers`, as a child of `span` if it is exported.
pub fn carry_trace(span: &Span, headers: &mut HeaderMap) {
    let own = span.context();
    // A span that is not exported has no context. Then the ids of the request are sent.
    let context = if own.has_active_span() { own } else { Context::current() };
    TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
}

/// The trace that some work belongs to.
#[derive(Clone, Debug)]
pub struct Trace(Context);

impl Trace {
    /// The trace that `headers` carry (W3C `traceparent`), or a new one.
    #[must_use]
    pub fn carried_by(headers: &HeaderMap) -> Self {
        if headers.contains_key("traceparent") {
            Self(TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)))
        } else {
            Self(Context::new())
        }
    }

    #[must_use]
    pub fn current() -> Self {
        Self(Context::current())
    }

    /// Runs `work` in `span` as the next step of this trace.
    pub fn run<F>(self, span: Span, work: F) -> Traced<F> {
        let context = match span.set_parent(self.0.clone()) {
            Ok(()) => self.0, // entering the span makes it current
            Err(_) => unexported(&self.0),
        };
        work.instrument(span).with_context(context)
    }

    /// Runs `work` as part of this trace, for logs after its end.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _current = self.0.clone().attach();
        work()
    }
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
