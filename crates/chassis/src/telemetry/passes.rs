//! Keeps only the spans of passes that matter: passes run every few seconds and mostly find nothing to do.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{Span as _, SpanId, Status, TraceContextExt, TraceId},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// Limit of the spans that are held back until a pass ends; spans beyond it are dropped.
const MOST_SPANS: usize = 512;

/// A context value of a pass: whether the pass has changed anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass(Arc<AtomicBool>);

/// Records that the current pass, if there is one, changed something.
pub fn mark_pass_changed() {
    Context::map_current(|context| {
        if let Some(Pass(changed)) = context.get() {
            changed.store(true, Ordering::Relaxed);
        }
    });
}

/// Holds back the spans of a pass until it ends. Exports them if the pass changed something, failed, or logged at `info`
/// or above. All other spans are exported at once.
#[derive(Debug)]
pub struct QuietPasses<P> {
    next: P,
    held: Mutex<HashMap<TraceId, Held>>,
}

#[derive(Debug)]
struct Held {
    root: SpanId,
    pass: Pass,
    spans: Vec<SpanData>,
}

impl<P> QuietPasses<P> {
    pub fn before(next: P) -> Self {
        Self { next, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<TraceId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the spans to export when `span` has ended.
    fn ended(&self, span: SpanData) -> Vec<SpanData> {
        let trace = span.span_context.trace_id();
        let mut all = self.held();
        // This trace is not that of a pass: exported at once.
        let Some(held) = all.get_mut(&trace) else { return vec![span] };
        let is_root = held.root == span.span_context.span_id();
        // The root always fits, because it says whether the pass failed.
        if is_root || held.spans.len() < MOST_SPANS {
            held.spans.push(span);
        }
        if !is_root {
            return Vec::new();
        }
        // A span of this trace that ends later finds no entry and is exported alone.
        let Some(Held { pass: Pass(changed), spans, .. }) = all.remove(&trace) else { return Vec::new() };
        if changed.load(Ordering::Relaxed) || spans.iter().any(is_kept) { spans } else { Vec::new() }
    }
}

fn is_kept(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. }) || !span.events.is_empty()
}

impl<P: SpanProcessor> SpanProcessor for QuietPasses<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        // A span inside a pass inherits the value too, but it also has an active span above it.
        if let Some(pass) = context.get::<Pass>()
            && !context.has_active_span()
        {
            let (root, pass) = (span.span_context(), pass.clone());
            let held = Held { root: root.span_id(), pass, spans: Vec::new() };
            self.held().insert(root.trace_id(), held);
        }
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        for span in self.ended(span) {
            self.next.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}
