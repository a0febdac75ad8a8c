//! What there is, time, restarts, and faults.

use std::{collections::HashMap, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use livekit_protocol::ListRoomsResponse;
use serde::Deserialize;

use super::message;
use crate::{Armed, Hand, LiveKitDev, Switches};

pub(super) async fn rooms(State(server): State<LiveKitDev>) -> Response {
    message(&ListRoomsResponse { rooms: server.rooms() })
}

pub(super) async fn calls(State(server): State<LiveKitDev>) -> Json<HashMap<String, u64>> {
    Json(server.all_calls())
}

#[derive(Deserialize)]
pub(super) struct Advance {
    advance_s: u64,
    #[serde(default)]
    hand: Hand,
}

pub(super) async fn clock(State(server): State<LiveKitDev>, Json(body): Json<Advance>) -> StatusCode {
    server.advance(body.hand, Duration::from_secs(body.advance_s));
    StatusCode::NO_CONTENT
}

pub(super) async fn restart(State(server): State<LiveKitDev>) -> StatusCode {
    server.restart();
    StatusCode::NO_CONTENT
}

pub(super) async fn get(State(server): State<LiveKitDev>) -> Json<Switches> {
    Json(server.switches())
}

/// All of them: what is not named is turned off.
pub(super) async fn set(State(server): State<LiveKitDev>, Json(switches): Json<Switches>) -> StatusCode {
    server.set_switches(switches);
    StatusCode::NO_CONTENT
}

pub(super) async fn faults(State(server): State<LiveKitDev>) -> Json<Vec<Armed>> {
    Json(server.faults().list())
}

pub(super) async fn arm(State(server): State<LiveKitDev>, Json(armed): Json<Armed>) -> StatusCode {
    server.faults().arm(armed);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
pub(super) struct Cleared {
    method: Option<String>,
}

/// All of them, or those of one method.
pub(super) async fn clear_faults(
    State(server): State<LiveKitDev>,
    Query(query): Query<Cleared>,
) -> StatusCode {
    match query.method {
        Some(method) => server.faults().clear_method(&method),
        None => server.faults().clear(),
    }
    StatusCode::NO_CONTENT
}
