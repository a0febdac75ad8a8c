//! What there is, time, restarts, and faults.

use std::{collections::HashMap, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use livekit_protocol::ListRoomsResponse;
use serde::Deserialize;

use super::{message, refusal};
use crate::{Armed, ClientFault, ClockHandle, LiveKitDev, Stop, Store, Switches};

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
    hand: ClockHandle,
}

pub(super) async fn clock(State(server): State<LiveKitDev>, Json(body): Json<Advance>) -> StatusCode {
    server.advance(body.hand, Duration::from_secs(body.advance_s));
    StatusCode::NO_CONTENT
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Crash,
    Outage,
    Graceful,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Restart {
    stop: How,
    /// How many of the due webhooks a graceful stop sends: one, unless said otherwise.
    webhooks: Option<usize>,
}

/// A body is not needed: then it is a crash.
pub(super) async fn restart(State(server): State<LiveKitDev>, body: Bytes) -> Response {
    // Read as bytes: an extractor for JSON would refuse an empty body.
    let restart = if body.is_empty() { Ok(Restart::default()) } else { serde_json::from_slice(&body) };
    let stop = match restart {
        Ok(Restart { stop: How::Crash, webhooks: _ }) => Stop::Crash,
        Ok(Restart { stop: How::Outage, webhooks: _ }) => Stop::Outage,
        Ok(Restart { stop: How::Graceful, webhooks }) => Stop::Graceful { webhooks: webhooks.unwrap_or(1) },
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error),
    };
    server.restart_after(stop);
    StatusCode::NO_CONTENT.into_response()
}

pub(super) async fn flush(State(server): State<LiveKitDev>) -> Response {
    // A server without Redis has nothing that a flush could lose.
    if server.config().store == Store::Memory {
        return (StatusCode::CONFLICT, "there is no Redis: start with --store redis-like").into_response();
    }
    server.flush();
    StatusCode::NO_CONTENT.into_response()
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

/// `{"room": …, "identity": …, "client_fault": "cut_socket"}`.
#[derive(Deserialize)]
pub(super) struct InjectedFault {
    room: String,
    identity: String,
    #[serde(flatten)]
    fault: ClientFault,
}

/// Nothing happens if no such client is connected.
pub(super) async fn client_fault(
    State(server): State<LiveKitDev>,
    Json(injected): Json<InjectedFault>,
) -> StatusCode {
    server.inject_client_fault(&injected.room, &injected.identity, injected.fault);
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
