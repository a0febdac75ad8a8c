//! The layer before every call, whatever the transport.
//!
//! From the outside in: metrics, trace, internal token, load shedding, deadline, panics, and a reason for what tonic
//! refuses by itself. tonic's own timeouts are not used. Only `grpc.health.v1` needs no token.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use tower::{Layer, Service};
use tracing::{Span, field};

use super::{InternalTokens, REQUEST_ID, Settings, spans};
use crate::{
    context::{self, Context},
    status::{Reason, Refusal},
    telemetry::{self, Trace},
};

const HEALTH: &str = "/grpc.health.v1.Health/";
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_DEADLINE: Duration = Duration::from_secs(30);

/// Puts the guard around routes or a server.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    tokens: InternalTokens,
    permits: Arc<Semaphore>,
}

impl GuardLayer {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { tokens: settings.tokens.clone(), permits: Arc::new(Semaphore::new(settings.max_in_flight)) }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        // Before the permit and the token: health must answer also when the service is overloaded.
        if path.starts_with(HEALTH) {
            return self.inner.call(request).boxed();
        }
        let started = Instant::now();
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let request_id: Arc<str> = text(REQUEST_ID).unwrap_or_default().into();
        let is_ours = self.layer.tokens.accept(request.headers());
        let span = span(&path, is_ours, &request_id);
        let trace = Trace::carried_by(request.headers());
        // `try_acquire`: a queue for permits would hold calls whose callers have given up.
        let permit = Arc::clone(&self.layer.permits).try_acquire_owned().ok();
        let refused = if !is_ours {
            // Without our reason: a wrong internal token must not become a 401 for the user.
            Some(Status::unauthenticated("the internal token is missing or wrong"))
        } else if permit.is_none() {
            Some(Refusal::unavailable(Reason::ServiceUnavailable, 1).into())
        } else {
            None
        };
        let budget =
            // The minimum, because a `grpc-timeout` may say hours.
            text("grpc-timeout").and_then(parse_timeout).unwrap_or(DEFAULT_DEADLINE).min(LONGEST_DEADLINE);
        let work = match refused {
            Some(status) => Err(status),
            None => Ok(self.inner.call(request)),
        };
        let work = async move {
            // Held until the answer begins. A stream goes on after that without a permit.
            let _permit = permit;
            let answer = match work {
                Err(status) => status.into_http(),
                Ok(call) => run(call, Context { deadline: Instant::now() + budget, request_id }).await,
            };
            record(&path, started, &answer);
            Ok(answer)
        };
        trace.run(span, work).boxed()
    }
}

/// Runs a call within its deadline; a panic becomes `internal`.
async fn run<F: Future<Output = Result<Response<Body>, Infallible>>>(
    call: F,
    context: Context,
) -> Response<Body> {
    let budget = context.deadline.saturating_duration_since(Instant::now());
    // Without this, a panic would continue in the caller of the in-process transport.
    let caught = AssertUnwindSafe(context::scope(context, call)).catch_unwind();
    match tokio::time::timeout(budget, caught).await {
        Ok(Ok(answer)) => with_reason(answer.unwrap_or_else(|never| match never {})),
        Ok(Err(_)) => {
            telemetry::meters::count_panic("grpc call");
            tracing::error!("a call panicked");
            Status::from(Refusal::internal()).into_http()
        }
        Err(_) => Status::deadline_exceeded("the call exceeded its deadline").into_http(),
    }
}

/// Adds a reason when tonic refused a request that is too large for the service. Without one, the caller would take it for
/// an answer that is too large, which is a failure of ours.
fn with_reason(answer: Response<Body>) -> Response<Body> {
    // A service that answers OUT_OF_RANGE itself gives details, and its answer is kept.
    let is_too_large = Status::from_header_map(answer.headers())
        .is_some_and(|status| status.code() == Code::OutOfRange && status.get_details_error_info().is_none());
    if is_too_large {
        return Status::from(Refusal::new(Reason::TooLarge, "The request is too large.")).into_http();
    }
    answer
}

/// Only authenticated callers name the span: others could create any number of names.
fn span(path: &str, is_ours: bool, request_id: &str) -> Span {
    let path = if is_ours { path } else { "/unknown/unknown" };
    let (service, method) = spans::named(path);
    tracing::debug_span!(
        "grpc", otel.name = path.trim_start_matches('/'), otel.kind = "server", rpc.system = "grpc",
        rpc.service = service, rpc.method = method, request.id = request_id,
        rpc.grpc.status_code = field::Empty, error.type = field::Empty, otel.status_code = field::Empty,
    )
}

fn record(path: &str, started: Instant, answer: &Response<Body>) {
    let code = spans::code_of(answer);
    let method = method(path, code).to_owned();
    spans::record_code(&Span::current(), code, spans::is_failure(code));
    metrics::histogram!("greenroom_grpc_duration_seconds", "method" => method, "code" => format!("{code:?}"))
        .record(started.elapsed());
}

/// The method as a label. Paths that are not served are chosen by the caller, and labels are kept forever: they get one
/// common label.
fn method(path: &str, code: Code) -> &str {
    match code {
        Code::Unauthenticated | Code::Unimplemented => "unknown",
        _ => path.rsplit('/').next().unwrap_or_default(),
    }
}

/// `grpc-timeout`: at most 8 digits and a unit, H M S m u n.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    // At most 8 digits, so the multiplications below cannot overflow.
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_parsed_as_the_grpc_standard_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("3S"), Some(Duration::from_secs(3)));
        for wrong in ["", "m", "123456789m", "-1S", "5x", "ü"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn unserved_paths_share_one_label() {
        let path = "/greenroom.token.v1.TokenService/IssueForSession";
        assert_eq!(method(path, Code::Ok), "IssueForSession");
        assert_eq!(method(path, Code::NotFound), "IssueForSession");
        assert_eq!(method("/invented/by-a-stranger", Code::Unauthenticated), "unknown");
        assert_eq!(method("/invented/by-a-service", Code::Unimplemented), "unknown");
    }
}
