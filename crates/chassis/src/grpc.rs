//! The gRPC side of a service: how its routes are served, with health and, by setting, reflection beside them.
//!
//! [`guard`](GuardLayer) is what stands in front of every call, whatever the transport.

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
pub use message::{caller, datetime, display_name, system_caller, timestamp, uuid};
pub use tokens::{InternalTokens, TOKEN_HEADER};

/// What the health of a whole server is asked by.
const OVERALL: &str = "";

pub const REQUEST_ID: &str = "x-request-id";
/// The largest message a service takes or gives.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Settings {
    pub tokens: InternalTokens,
    /// Serve gRPC reflection.
    pub reflection: bool,
    /// Calls under way at once; more are refused with `service_unavailable`.
    pub max_in_flight: usize,
}

/// Health, and reflection by setting, added to a service's own routes. It is healthy while `needed`, the dependency
/// that the service requires, is up: what `/readyz` says of a process with this service alone.
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
        let mut changes = readiness.changes();
        loop {
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
    let routes = noted(routes, expiry).add_service(health);
    if !settings.reflection {
        return routes;
    }
    reflection::added(routes.clone(), S::NAME).unwrap_or_else(|error| {
        tracing::warn!(%error, "reflection is not served");
        routes
    })
}

/// Records failures of these calls that are about the service's database.
fn noted(routes: Routes, expiry: Expiry) -> Routes {
    let note = move |request, next: Next| {
        let expiry = expiry.clone();
        async move { expiry.scope(next.run(request)).await }
    };
    Routes::from(routes.into_axum_router().layer(from_fn(note)))
}

/// Serves routes behind the guard until the process stops: calls under way are answered first. A task of its own,
/// because a process that is told to stop drops this wait, and tonic's server with it would leave them alone.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    settings: &Settings,
    lifecycle: &Lifecycle,
) -> Result<(), tonic::transport::Error> {
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(GuardLayer::new(settings))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            // Set here: the builder's own `tcp_nodelay` does not reach sockets that come from outside.
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            lifecycle.stopping().clone().cancelled_owned(),
        );
    match lifecycle.spawn("grpc server", server).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) => Ok(()), // the hard stop
    }
}
