//! The gRPC side of a service: one guard around its routes, whatever the transport, and the server.
//!
//! The guard, from the outside in: measure, trace, internal token, load shed, deadline, catch panic. tonic's own
//! timeouts are not used. Only `grpc.health.v1` needs no token.

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
use http::{HeaderMap, HeaderValue, Request, Response};
use prost_types::Timestamp;
use proto::types::v1::Caller;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use time::OffsetDateTime;
use tokio::{net::TcpListener, sync::Semaphore};
use tonic::{
    Code, Status,
    body::Body,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tower::{Layer, Service};
use tracing::{Instrument, field};

use crate::{
    context::{self, Context},
    lifecycle::Lifecycle,
    status::{Reason, Refusal},
    telemetry,
};

pub const TOKEN_HEADER: &str = "x-greenroom-token";
pub const REQUEST_ID: &str = "x-request-id";
/// The largest message a service takes or gives.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;
const HEALTH: &str = "/grpc.health.v1.Health/";
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_DEADLINE: Duration = Duration::from_secs(30);

/// The tokens that our services accept from each other: the first one is sent, a second is still accepted while
/// the first is being rolled out.
#[derive(Clone, Debug)]
pub struct InternalTokens(Arc<[SecretString]>);

impl InternalTokens {
    /// `new[,old]`, each at least 32 bytes of visible ASCII.
    pub fn parse(tokens: &str) -> Result<Self, &'static str> {
        let tokens: Vec<&str> = tokens.split(',').map(str::trim).collect();
        if tokens.len() > 2 {
            return Err("at most two tokens, `new,old`");
        }
        if tokens.iter().any(|token| token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("each token must have at least 32 bytes of visible ASCII");
        }
        Ok(Self(tokens.into_iter().map(SecretString::from).collect()))
    }

    pub(crate) fn outgoing(&self) -> HeaderValue {
        let token = self.0.first().map_or("", |token| token.expose_secret());
        let mut value = HeaderValue::from_str(token).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    fn accept(&self, headers: &HeaderMap) -> bool {
        let offered = headers.get(TOKEN_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
        let matches = |token: &SecretString| token.expose_secret().as_bytes().ct_eq(offered);
        self.0.iter().map(matches).fold(Choice::from(0), |any, this| any | this).into()
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub tokens: InternalTokens,
    /// Serve gRPC reflection.
    pub reflection: bool,
    /// Calls under way at once; more are refused with `service_unavailable`.
    pub max_in_flight: usize,
}

/// Puts the guard around routes or a server.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    tokens: InternalTokens,
    places: Arc<Semaphore>,
}

impl GuardLayer {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { tokens: settings.tokens.clone(), places: Arc::new(Semaphore::new(settings.max_in_flight)) }
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
        if path.starts_with(HEALTH) {
            return self.inner.call(request).boxed();
        }
        let started = Instant::now();
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let request_id: Arc<str> = text(REQUEST_ID).unwrap_or_default().into();
        let span = tracing::info_span!(
            "rpc", otel.kind = "server", rpc.system = "grpc", rpc.method = %path, request.id = %request_id,
            rpc.grpc.status_code = field::Empty,
        );
        telemetry::continue_trace(&span, request.headers());
        let place = Arc::clone(&self.layer.places).try_acquire_owned().ok();
        let refused = if !self.layer.tokens.accept(request.headers()) {
            // Without a reason of ours: services that do not trust each other are no 401 of the person who asked.
            Some(Status::unauthenticated("the internal token is missing or wrong"))
        } else if place.is_none() {
            Some(Refusal::unavailable(Reason::ServiceUnavailable, 1).into())
        } else {
            None
        };
        let budget =
            text("grpc-timeout").and_then(parse_timeout).unwrap_or(DEFAULT_DEADLINE).min(LONGEST_DEADLINE);
        let work = match refused {
            Some(status) => Err(status),
            None => Ok(self.inner.call(request)),
        };
        let work = async move {
            let _place = place;
            let answer = match work {
                Err(status) => status.into_http(),
                Ok(call) => run(call, Context { deadline: Instant::now() + budget, request_id }).await,
            };
            record(&path, started, &answer);
            Ok(answer)
        };
        work.instrument(span).boxed()
    }
}

/// Runs a call within its deadline; a panic becomes `internal`.
async fn run<F: Future<Output = Result<Response<Body>, Infallible>>>(
    call: F,
    context: Context,
) -> Response<Body> {
    let budget = context.deadline.saturating_duration_since(Instant::now());
    let caught = AssertUnwindSafe(context::scope(context, call)).catch_unwind();
    match tokio::time::timeout(budget, caught).await {
        Ok(Ok(answer)) => answer.unwrap_or_else(|never| match never {}),
        Ok(Err(_)) => {
            tracing::error!("a call panicked");
            Status::from(Refusal::internal()).into_http()
        }
        Err(_) => Status::deadline_exceeded("the call took longer than its caller would wait").into_http(),
    }
}

fn record(path: &str, started: Instant, answer: &Response<Body>) {
    let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
    let method = method(path, code).to_owned();
    tracing::Span::current().record("rpc.grpc.status_code", i32::from(code));
    metrics::histogram!("greenroom_grpc_duration_seconds", "method" => method, "code" => format!("{code:?}"))
        .record(started.elapsed());
}

/// The method as a label. A path that was not served is its caller's invention, and labels are kept for ever.
fn method(path: &str, code: Code) -> &str {
    match code {
        Code::Unauthenticated | Code::Unimplemented => "unknown",
        _ => path.rsplit('/').next().unwrap_or_default(),
    }
}

/// `grpc-timeout`: at most 8 digits and a unit, H M S m u n.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
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

/// Health, and reflection by setting, added to a service's own routes.
pub async fn with_health<S: tonic::server::NamedService>(routes: Routes, settings: &Settings) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<S>().await;
    let routes = routes.add_service(health);
    if !settings.reflection {
        return routes;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        Err(error) => {
            tracing::warn!(%error, "reflection is not served");
            routes
        }
    }
}

/// Serves routes behind the guard until the process stops.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    settings: &Settings,
    lifecycle: &Lifecycle,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(GuardLayer::new(settings))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            // Set here: the builder's own `tcp_nodelay` does not reach sockets that come from outside.
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            lifecycle.stopping().clone().cancelled_owned(),
        )
        .await
}

/// Who asks, checked: `unauthenticated` without a person, unless one of our own services asks. Postgres takes no
/// NUL in texts: an id with one is nobody's, a name loses it.
pub fn caller(caller: Option<Caller>) -> Result<Caller, Refusal> {
    let named = |caller: &Caller| caller.system || (1..=200).contains(&caller.user_id.len());
    let mut caller = caller
        .filter(|caller| named(caller) && !caller.user_id.contains('\0'))
        .ok_or_else(|| Refusal::new(Reason::Unauthenticated, "The request names no caller."))?;
    for told in [&mut caller.name, &mut caller.email, &mut caller.avatar_url] {
        told.retain(|character| character != '\0');
    }
    Ok(caller)
}

/// The caller that our own services and passes are.
#[must_use]
pub fn system_caller() -> Caller {
    Caller { system: true, ..Caller::default() }
}

/// An id as requests carry it.
pub fn uuid(field: &str, value: &str) -> Result<uuid::Uuid, Refusal> {
    value.parse().map_err(|_| match field {
        "session_id" | "booking_id" => Refusal::new(Reason::InvalidSessionId, "The id is not a UUID."),
        _ => Refusal::invalid(field, "must be a UUID"),
    })
}

#[must_use]
pub fn timestamp(time: OffsetDateTime) -> Timestamp {
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default(); // below 10^9
    Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// None for what is no time between the years 0 and 9999.
#[must_use]
pub fn datetime(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?;
    let time = time.replace_nanosecond(u32::try_from(timestamp.nanos).ok()?).ok()?;
    (time.year() >= 0).then_some(time)
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
    fn paths_that_callers_invent_become_no_labels() {
        let path = "/greenroom.token.v1.TokenService/IssueForSession";
        assert_eq!(method(path, Code::Ok), "IssueForSession");
        assert_eq!(method(path, Code::NotFound), "IssueForSession");
        assert_eq!(method("/invented/by-a-stranger", Code::Unauthenticated), "unknown");
        assert_eq!(method("/invented/by-a-service", Code::Unimplemented), "unknown");
    }

    #[test]
    fn a_caller_has_only_what_postgres_takes() {
        let person = |user_id: &str| Caller { user_id: user_id.into(), ..Caller::default() };
        for nobody in [None, Some(person("")), Some(person(&"x".repeat(201))), Some(person("a\0b"))] {
            assert_eq!(caller(nobody).unwrap_err().reason, Reason::Unauthenticated);
        }
        let told =
            Caller { name: "A\0na".into(), email: "\0a@b".into(), avatar_url: "p\0".into(), ..person("ana") };
        let checked = caller(Some(told)).unwrap();
        assert_eq!(
            (checked.name.as_str(), checked.email.as_str(), checked.avatar_url.as_str()),
            ("Ana", "a@b", "p")
        );
        assert!(caller(Some(system_caller())).is_ok());
    }

    #[test]
    fn times_are_between_the_years_0_and_9999() {
        let time = |seconds, nanos| datetime(&Timestamp { seconds, nanos });
        assert!(time(0, 999_999_999).is_some() && time(253_402_300_799, 0).is_some());
        let year_0 = -62_167_219_200;
        assert!(time(year_0, 0).is_some() && time(year_0 - 1, 0).is_none());
        for (seconds, nanos) in
            [(253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0), (i64::MAX, 0)]
        {
            assert!(time(seconds, nanos).is_none(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn two_tokens_are_accepted_and_neither_is_printed() {
        let (new, old) = ("n".repeat(32), "o".repeat(40));
        let tokens = InternalTokens::parse(&format!("{new},{old}")).unwrap();
        let accepts = |token: &str| {
            tokens.accept(&HeaderMap::from_iter([(
                http::HeaderName::from_static(TOKEN_HEADER),
                token.parse().unwrap(),
            )]))
        };
        assert!(accepts(&new) && accepts(&old));
        assert!(!accepts("") && !accepts(&"n".repeat(33)) && !tokens.accept(&HeaderMap::new()));
        assert!(!format!("{tokens:?}").contains("nnn"));
        assert!(InternalTokens::parse("short").is_err());
    }
}
