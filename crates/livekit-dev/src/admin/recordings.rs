//! Recordings, and their worker.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use livekit_protocol::{EgressStatus, ListEgressResponse};
use serde::Deserialize;

use super::{message, refusal};
use crate::LiveKitDev;

pub(super) async fn list(State(server): State<LiveKitDev>) -> Response {
    let items = server.recordings();
    message(&ListEgressResponse { items, ..ListEgressResponse::default() })
}

#[derive(Deserialize)]
pub(super) struct Advance {
    egress_id: String,
    /// `EGRESS_FAILED`, `EGRESS_ABORTED`, …
    status: EgressStatus,
    #[serde(default)]
    error: String,
}

pub(super) async fn advance(State(server): State<LiveKitDev>, Json(body): Json<Advance>) -> Response {
    match server.move_recording(&body.egress_id, body.status, &body.error) {
        Ok(info) => message(&info),
        Err(error) => refusal(StatusCode::NOT_FOUND, &error),
    }
}
