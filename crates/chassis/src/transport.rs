//! How a generated gRPC client reaches a service: over a channel, or by calling the routes in this process.
//!
//! Both pass the same guard ([`crate::grpc`]) and send the same headers: the internal token, the rest of the budget
//! (`grpc-timeout`), the request id and the trace. Only HTTP/2 and the socket differ.

use std::{
    future::Future,
    pin::Pin,
    task::{Context as Poller, Poll},
    time::Duration,
};

use futures::FutureExt;
use http::{HeaderValue, Request, Response};
use tonic::{
    Code, Status,
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tower::{Service, ServiceExt};
use tracing::{Instrument, Span, field};

use crate::{
    context,
    grpc::{self, Guard, InternalTokens, REQUEST_ID, TOKEN_HEADER},
    telemetry,
};

/// The longest time of a call, whatever the caller's budget.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Transport {
    connection: Connection,
    token: HeaderValue,
}

#[derive(Clone)]
enum Connection {
    Channel(Channel),
    InProcess(Guard<Routes>),
}

impl Transport {
    /// A channel that connects when it is used, and reconnects after a loss.
    pub fn to(endpoint: Endpoint, tokens: &InternalTokens) -> Self {
        let endpoint = endpoint
            // Peers are near: the rest of the budget is for the answer.
            .connect_timeout(Duration::from_secs(1))
            // A host without power sends no reset. After 10 s + 5 s the channel connects again.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        Self { connection: Connection::Channel(endpoint.connect_lazy()), token: tokens.outgoing() }
    }

    /// The routes of a service of this process, behind its guard.
    #[must_use]
    pub fn in_process(routes: Guard<Routes>, tokens: &InternalTokens) -> Self {
        Self { connection: Connection::InProcess(routes), token: tokens.outgoing() }
    }

    /// The span of a call, if it is part of a trace, and the headers that carry the call's context.
    fn prepare(&self, request: &mut Request<Body>) -> Span {
        let budget = context::remaining(LONGEST);
        let headers = request.headers_mut();
        headers.insert(TOKEN_HEADER, self.token.clone());
        // At most 30,000 ms, so within the 8 digits that the header allows.
        if let Ok(timeout) = HeaderValue::from_str(&format!("{}m", budget.as_millis())) {
            headers.insert("grpc-timeout", timeout);
        }
        if let Some(context) = context::current()
            && let Ok(id) = HeaderValue::from_str(&context.request_id)
        {
            headers.insert(REQUEST_ID, id);
        }
        let span = span(request.uri().path());
        telemetry::mark_pass_changed(); // the server's spans belong to the pass that calls
        telemetry::carry_trace(&span, request.headers_mut());
        span
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // readiness is awaited inside the call, on a clone, so that its deadline covers it
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let span = self.prepare(&mut request);
        match &self.connection {
            Connection::InProcess(routes) => {
                let call = routes.clone().oneshot(request);
                let call = call.map(|answer| Ok(answer.unwrap_or_else(|never| match never {})));
                observed(span, call).boxed()
            }
            Connection::Channel(channel) => {
                let call = channel.clone().oneshot(request);
                // The server limits the call too. This limit also covers connecting, and a server that is
                // silent.
                let budget = context::remaining(LONGEST);
                let call = async move {
                    match tokio::time::timeout(budget, call).await {
                        Ok(answer) => answer,
                        Err(_) => {
                            Ok(Status::deadline_exceeded("the service did not answer in time").into_http())
                        }
                    }
                };
                observed(span, call).boxed()
            }
        }
    }
}

fn span(path: &str) -> Span {
    let (service, method) = grpc::named(path);
    telemetry::client(|| {
        tracing::debug_span!(
            "grpc", otel.name = path.trim_start_matches('/'), otel.kind = "client", rpc.system = "grpc",
            rpc.service = service, rpc.method = method, rpc.grpc.status_code = field::Empty,
            error.type = field::Empty, otel.status_code = field::Empty,
        )
    })
}

/// Runs a call in its span and records its outcome there.
async fn observed<E>(
    span: Span,
    call: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let outcome = call.instrument(span.clone()).await;
    if !span.is_disabled() {
        let code = outcome.as_ref().map_or(Code::Unavailable, grpc::code_of);
        grpc::record_code(&span, code, code != Code::Ok);
    }
    outcome
}
