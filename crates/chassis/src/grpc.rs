//! Serves a service's gRPC routes, together with health and, if it is set, reflection.
//!
//! [`GuardLayer`] runs before every call, whatever the transport.

mod guard;
mod message;
mod reflection;
mod spans;
mod tokens;

use std::time::Duration;

use axum::middleware::{Next, from_fn};
use tokio::net::TcpListener;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::ServingStatus;

use crate::{db::Expiry, lifecycle::Lifecycle, ops::State, service::Runtime};

pub(crate) use spans::{code_of, named, record_code};

pub use guard::{Guard, GuardLayer};
pub use message::{caller, datetime, display_name, moment, page_request, system_caller, timestamp, uuid};
pub use tokens::{InternalTokens, TOKEN_HEADER};

/// The name that asks for the health of the whole server.
const OVERALL: &str = "";

pub const REQUEST_ID: &str = "x-request-id";
/// The largest message that a service receives or sends.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Settings {
    pub tokens: InternalTokens,
    /// Serve gRPC reflection.
    pub reflection: bool,
    /// Limit of concurrent calls; more are refused with `service_unavailable`.
    pub max_in_flight: usize,
}

/// Adds health, and reflection if it is set, to a service's own routes. The service is healthy while `needed`, the
/// dependency that it requires, is up. `/readyz` of a process with this service alone says the same.
pub fn with_health<S: tonic::server::NamedService>(
    routes: Routes,
    settings: &Settings,
    runtime: &Runtime,
    needed: String,
) -> Routes {
    let expiry = runtime.expiry(&needed);
    let (reporter, health) = tonic_health::server::health_reporter();
    let (readiness, stopping) = (runtime.readiness.clone(), runtime.lifecycle.stopping().clone());
    runtime.lifecycle.spawn("health", async move {
        // Subscribed before the first state is read, so that no change is lost in between.
        let mut changes = readiness.changes();
        loop {
            // `Starting` does not serve: until the first probe it is unknown whether the database suits.
            let is_up = readiness.state(&needed) == Some(State::Up);
            let status = if is_up { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in [OVERALL, S::NAME] {
                reporter.set_service_status(service, status).await;
            }
            if !matches!(stopping.run_until_cancelled(changes.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    });
    // Health reads no database, so it is added outside of the expiry.
    let routes = with_expiry(routes, expiry).add_service(health);
    if !settings.reflection {
        return routes;
    }
    // Reflection is a tool for people: the service works without it.
    reflection::with_reflection(routes.clone(), S::NAME).unwrap_or_else(|error| {
        tracing::warn!(%error, "reflection is not served");
        routes
    })
}

/// Runs the calls under `expiry`, which records failures that concern the service's database.
fn with_expiry(routes: Routes, expiry: Expiry) -> Routes {
    let scoped = move |request, next: Next| {
        let expiry = expiry.clone();
        async move { expiry.scope(next.run(request)).await }
    };
    Routes::from(routes.into_axum_router().layer(from_fn(scoped)))
}

/// Serves routes behind the guard until the process stops; running calls are finished first. The server is a separate
/// task: a process that stops drops this future, and a server dropped with it would abandon the running calls.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    settings: &Settings,
    lifecycle: &Lifecycle,
) -> Result<(), tonic::transport::Error> {
    let server = Server::builder()
        // Finds clients that vanished without closing the connection.
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(GuardLayer::new(settings))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            // Set here: the builder's own `tcp_nodelay` does not apply to a listener that the caller bound.
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            lifecycle.stopping().clone().cancelled_owned(),
        );
    match lifecycle.spawn("grpc server", server).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) => Ok(()), // the hard stop
    }
}
