//! Liveness and readiness of this gateway.

use std::collections::BTreeMap;

use axum::{Json, extract::State, response::Response};
use chassis::{
    ops::{self, State as DependencyState},
    service::Runtime,
};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` when something is down
    status: &'static str,
    version: &'static str,
    /// Each thing this gateway depends on: `starting` · `up` · `down`
    #[schema(value_type = BTreeMap<String, String>)]
    dependencies: BTreeMap<String, DependencyState>,
}

/// Returns the state of the gateway.
///
/// Always 200 while the process runs. Read-only. Any client.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "Operation", security(()),
    responses((status = 200, body = Health, description = "The process runs.")))]
pub(crate) async fn health(State(runtime): State<Runtime>) -> Json<Health> {
    let report = runtime.readiness.report();
    let state = |(name, dependency): (String, ops::Dependency)| (name, dependency.state);
    Json(Health {
        // `unavailable` is `degraded` here: this route says only that the process runs.
        status: if report.status == "ok" { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        dependencies: report.dependencies.into_iter().map(state).collect(),
    })
}

/// Reports that the process runs.
///
/// Read-only. Any client.
#[utoipa::path(get, path = "/livez", operation_id = "getLiveness", tag = "Operation", security(()),
    responses((status = 200, body = String, description = "The process runs.")))]
pub(crate) async fn livez() -> &'static str {
    "ok"
}

/// Reports that the gateway is ready.
///
/// Returns each dependency with its state. A gateway requires no dependency: it answers 200 for as long as it
/// serves, `degraded` when one is down. 503 only from `greenroom up`, whose database is part of the same process,
/// while that is down. Read-only. Any client.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "Operation", security(()),
    responses((status = 200, body = Readiness, description = "Ready, or degraded."),
        (status = 503, body = Readiness, description = "The database of `greenroom up` is down.")))]
pub(crate) async fn readyz(State(runtime): State<Runtime>) -> Response {
    ops::public_readyz(&runtime.readiness)
}

/// The body that `chassis::ops` writes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that chassis writes")]
pub(crate) struct Readiness {
    /// ok · degraded · unavailable
    status: String,
    dependencies: BTreeMap<String, DependencyReport>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that chassis writes")]
struct DependencyReport {
    /// starting · up · down
    state: String,
    /// Whether the process cannot serve without it: false for all of a gateway's, true for the databases of `greenroom
    /// up`.
    required: bool,
    /// Why it is down; only when that is `the database is read-only`.
    problem: Option<String>,
}
