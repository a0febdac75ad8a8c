//! The layer around every route: request id, time budget, trace, metrics, log line, and a layer that catches panics.
//!
//! It is one layer instead of five, because each layer costs every request a box and a clone. This is the hot path that
//! `make bench` compares with a bare handler. It is outside of CORS, so that preflights are logged too. Panics are
//! caught inside of CORS ([`CaughtLayer`]), so that pages can read the answer.

mod line;

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use chassis::{
    context::{self, Context},
    status::Refusal,
    telemetry::{self, Trace},
};
use futures::{
    FutureExt,
    future::{CatchUnwind, Map},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower::{Layer, Service};
use tracing::{Span, field};

use self::line::{Line, NOTES};
use crate::{
    error::{self, Rejection},
    family::Family,
};

pub(crate) use self::line::{note_detail, note_refused, note_user};

/// The time limit of a request, including all calls to services.
const BUDGET: Duration = Duration::from_secs(10);
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeLayer;

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Edge<S> {
    inner: S,
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        // Keeps tokens out of debug output of headers.
        for (name, value) in request.headers_mut().iter_mut() {
            if *name == header::AUTHORIZATION || *name == header::COOKIE {
                value.set_sensitive(true);
            }
        }
        let (request_id, echo) = request_id(request.headers());
        let route = request.extensions().get::<MatchedPath>().cloned();
        // Read now: the request moves into the handler, and the refusal needs the family after it.
        let family = Family::of(request.uri().path());
        let method = method(request.method());
        let span = span(method, route.as_ref(), &request_id);
        let trace = Trace::carried_by(request.headers());
        // From `started`: the time in this layer counts too.
        let context = Context { deadline: started + BUDGET, request_id };
        let call = self.inner.call(request);
        let work = context::scope(context, async move {
            let line = Line::begin(started, method, route);
            let mut response = call.await?;
            error::word_for(family, &mut response);
            response.headers_mut().insert(REQUEST_ID, echo);
            observe(line.route(), method, &response, started);
            line.answered(&mut response);
            Ok(response)
        });
        Box::pin(trace.run(span, NOTES.scope(RefCell::default(), work)))
    }
}

/// Creates the span of a request. It has the level `debug`, so it costs nothing when traces are off.
fn span(method: &'static str, route: Option<&MatchedPath>, request_id: &str) -> Span {
    let route = route.map(MatchedPath::as_str);
    let blank = if route.is_some() { " " } else { "" };
    tracing::debug_span!(
        "http", otel.name = %format_args!("{method}{blank}{}", route.unwrap_or_default()), otel.kind = "server",
        http.request.method = method, http.route = route, request.id = request_id,
        http.response.status_code = field::Empty, error.type = field::Empty, otel.status_code = field::Empty,
    )
}

/// Answers a request whose handler panicked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CaughtLayer;

impl<S> Layer<S> for CaughtLayer {
    type Service = Caught<S>;

    fn layer(&self, inner: S) -> Caught<S> {
        Caught { inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Caught<S> {
    inner: S,
}

impl<S> Service<Request> for Caught<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(std::thread::Result<Handled>) -> Handled>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        AssertUnwindSafe(self.inner.call(request)).catch_unwind().map(after_panic)
    }
}

type Handled = Result<Response, Infallible>;

fn after_panic(outcome: std::thread::Result<Handled>) -> Handled {
    // The panic itself was logged by the hook, with its place.
    outcome.unwrap_or_else(|_panic| {
        telemetry::meters::count_panic("http request");
        tracing::error!("a handler panicked");
        Ok(Rejection::from(Refusal::internal()).into_response())
    })
}

/// Returns the client's request id if it is valid, else a new one: as text, and as the value of the response header.
fn request_id(headers: &HeaderMap) -> (Arc<str>, HeaderValue) {
    // Only visible ASCII: the id is part of log lines and of a response header.
    let theirs = headers.get(REQUEST_ID).filter(|id| {
        (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    if let Some(id) = theirs
        && let Ok(text) = id.to_str()
    {
        return (Arc::from(text), id.clone());
    }
    let mut buffer = uuid::Uuid::encode_buffer();
    let text = &*uuid::Uuid::new_v4().as_simple().encode_lower(&mut buffer);
    let header = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"));
    (Arc::from(text), header)
}

/// Returns a known method or `OTHER`: methods that clients invent must not become label values.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

fn observe(route: &str, method: &'static str, response: &Response, started: Instant) {
    let status = response.status();
    let span = Span::current();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    let route = route.to_owned();
    metrics::counter!(
        "greenroom_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!("greenroom_http_request_duration_seconds", "route" => route, "method" => method)
        .record(started.elapsed());
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::to_bytes, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn panic_in_a_handler_is_answered_as_internal() {
        let broken = || async { assert_eq!(BUDGET, Duration::ZERO, "a deliberate panic") };
        let router = Router::new().route("/", get(broken));
        let request = Request::builder().header(REQUEST_ID, "abc").body(axum::body::Body::empty());
        let response = router.layer((EdgeLayer, CaughtLayer)).oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[REQUEST_ID], "abc");
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["request_id"]), (&"internal".into(), &"abc".into()));
    }

    #[tokio::test]
    async fn token_is_not_printed_with_the_headers() {
        let print = |headers: HeaderMap| std::future::ready(format!("{headers:?}"));
        let router = Router::new().route("/", get(print)).layer(EdgeLayer);
        let request = Request::builder().header("authorization", "Bearer s3cret");
        let request = request.header("cookie", "theme=dark").header("cookie", "session=s3cret");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("s3cret"));
    }
}
