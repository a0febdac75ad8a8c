//! One log line for each request: the user, the route and the outcome.
//!
//! Handlers add what only they know ([`note_user`], [`note_refused`]). The edge writes the line when the request is
//! answered, or when an event stream ends. A request that is cut off before its answer also has a line, for example
//! when the process ends.

use std::{cell::RefCell, time::Instant};

use axum::{body::Body, extract::MatchedPath, response::Response};
use chassis::{context, telemetry::Trace};
use futures::StreamExt as _;
use http::{StatusCode, header};

use crate::error::Code;

/// Routes with so many requests that their lines are logged at `debug`.
const QUIET: [&str; 5] = ["/livez", "/readyz", "/health", "/metrics", "/api/v1/live/{id}/{file}"];
/// Characters of a detail about a token.
const LONGEST_DETAIL: usize = 200;

/// Facts about a request that become known while it is answered.
#[derive(Default)]
pub(super) struct Notes {
    user: Option<String>,
    refused: Option<String>,
    detail: Option<String>,
}

tokio::task_local! {
    pub(super) static NOTES: RefCell<Notes>;
}

fn note(write: impl FnOnce(&mut Notes)) {
    let _ = NOTES.try_with(|notes| write(&mut notes.borrow_mut())); // outside of a request there is no log line
}

/// Notes the person or key of the request.
pub(crate) fn note_user(id: &str) {
    note(|notes| notes.user = Some(id.to_owned()));
}

/// Notes why a token, signature, ticket or link was refused.
pub(crate) fn note_refused(reason: impl Into<String>) {
    note(|notes| notes.refused = Some(reason.into()));
}

/// Notes a detail of a refused token for the operator; never the token.
pub(crate) fn note_detail(detail: &str) {
    let detail = detail.chars().take(LONGEST_DETAIL).collect();
    note(|notes| notes.detail = Some(detail));
}

/// The log line of a request, until it is written.
pub(super) struct Line {
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    /// The trace of the request. A line that is written on drop is outside of the request's scope.
    trace: Trace,
    outcome: Outcome,
}

enum Outcome {
    /// The request has no answer yet: if the line is dropped, the request was cut off.
    Unanswered,
    Streaming(Box<Stream>),
    Written,
}

/// What the line of an event stream needs after the scope of the request has ended.
struct Stream {
    status: StatusCode,
    notes: Notes,
    request_id: String,
}

impl Line {
    pub(super) fn begin(started: Instant, method: &'static str, route: Option<MatchedPath>) -> Self {
        Self { started, method, route, trace: Trace::current(), outcome: Outcome::Unanswered }
    }

    pub(super) fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    /// Writes the line of an answered request. The line of an event stream is written when the stream ends.
    pub(super) fn answered(mut self, response: &mut Response) {
        let (status, notes) = (response.status(), NOTES.with(RefCell::take));
        let code = response.extensions().get::<Code>().map(|code| code.0);
        if is_event_stream(response) {
            self.outcome = Outcome::Streaming(Box::new(Stream { status, notes, request_id: request_id() }));
            let body = std::mem::take(response.body_mut()).into_data_stream();
            // The line lives in the body's closure, so it is dropped, and written, when the stream ends or is
            // cut.
            *response.body_mut() = Body::from_stream(body.inspect(move |_| {
                let _dropped_with_the_body = &self;
            }));
            return;
        }
        self.outcome = Outcome::Written;
        self.write(status, &notes, code);
    }

    fn write(&self, status: StatusCode, notes: &Notes, code: Option<&str>) {
        /// Writes the same fields at either level.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = self.method,
                    route = self.route(),
                    status = status.as_u16(),
                    duration_ms = millis(self.started),
                    code,
                    user.id = notes.user.as_deref(),
                    refused = notes.refused.as_deref(),
                    refused.detail = notes.detail.as_deref(),
                    "request answered"
                )
            };
        }
        // Failures of quiet routes are still logged at `info`.
        if QUIET.contains(&self.route()) && !status.is_server_error() {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.outcome, Outcome::Written) {
            Outcome::Written => {}
            Outcome::Unanswered => {
                // The scope of the request may be over when the line is dropped.
                let notes = NOTES.try_with(RefCell::take).unwrap_or_default();
                self.trace.scope(|| {
                    tracing::info!(
                        method = self.method,
                        route = self.route(),
                        duration_ms = millis(self.started),
                        user.id = notes.user.as_deref(),
                        "request cut off"
                    );
                });
            }
            Outcome::Streaming(stream) => self.trace.scope(|| {
                tracing::info!(
                    method = self.method,
                    route = self.route(),
                    status = stream.status.as_u16(),
                    duration_ms = millis(self.started),
                    user.id = stream.notes.user.as_deref(),
                    request.id = stream.request_id,
                    "event stream ended"
                );
            }),
        }
    }
}

fn request_id() -> String {
    context::current().map(|context| context.request_id.to_string()).unwrap_or_default()
}

/// Returns milliseconds with a precision of microseconds: most requests take a few milliseconds.
fn millis(started: Instant) -> f64 {
    let micros = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
