//! Participants without clients.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use livekit_protocol::{DisconnectReason, ParticipantInfo, TrackSource};
use serde::Deserialize;

use super::{message, refusal};
use crate::{JoinError, LiveKitDev, NotConnected, PublishError};

#[derive(Deserialize)]
pub(super) struct Token {
    token: String,
}

#[derive(Deserialize)]
pub(super) struct Who {
    room: String,
    identity: String,
}

#[derive(Deserialize)]
pub(super) struct Leaving {
    #[serde(flatten)]
    who: Who,
    /// `CLIENT_INITIATED`, `CONNECTION_TIMEOUT`, …
    reason: Option<DisconnectReason>,
}

#[derive(Deserialize)]
pub(super) struct Publishing {
    #[serde(flatten)]
    who: Who,
    /// `CAMERA`, `MICROPHONE`, `SCREEN_SHARE`, `SCREEN_SHARE_AUDIO`.
    source: TrackSource,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Track {
    #[serde(flatten)]
    who: Who,
    track_sid: String,
}

/// Joins and becomes active.
pub(super) async fn join(State(server): State<LiveKitDev>, Json(body): Json<Token>) -> Response {
    joined(server.join(&body.token))
}

/// Joins without becoming active.
pub(super) async fn connect(State(server): State<LiveKitDev>, Json(body): Json<Token>) -> Response {
    joined(server.connect(&body.token))
}

pub(super) async fn activate(State(server): State<LiveKitDev>, Json(who): Json<Who>) -> Response {
    match server.activate(&who.room, &who.identity) {
        Ok(participant) => message(&participant),
        Err(error) => absent(error),
    }
}

pub(super) async fn leave(State(server): State<LiveKitDev>, Json(leaving): Json<Leaving>) -> Response {
    let Leaving { who, reason } = leaving;
    let reason = reason.unwrap_or(DisconnectReason::ClientInitiated);
    match server.leave_because(&who.room, &who.identity, reason) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => absent(error),
    }
}

pub(super) async fn publish(State(server): State<LiveKitDev>, Json(body): Json<Publishing>) -> Response {
    let Publishing { who, source, name } = body;
    match server.publish_named(&who.room, &who.identity, source, &name) {
        Ok(track) => message(&track),
        Err(error) => {
            let status = match error {
                PublishError::Absent => StatusCode::NOT_FOUND,
                PublishError::NotActive => StatusCode::CONFLICT,
                PublishError::NotAllowed => StatusCode::FORBIDDEN,
            };
            refusal(status, &error)
        }
    }
}

pub(super) async fn unpublish(State(server): State<LiveKitDev>, Json(body): Json<Track>) -> Response {
    match server.unpublish(&body.who.room, &body.who.identity, &body.track_sid) {
        Ok(track) => message(&track),
        Err(error) => absent(error),
    }
}

/// A refused join has the status and the words of `/rtc`.
fn joined(result: Result<ParticipantInfo, JoinError>) -> Response {
    match result {
        Ok(participant) => message(&participant),
        Err(error) => error.into_response(),
    }
}

fn absent(error: NotConnected) -> Response {
    refusal(StatusCode::NOT_FOUND, &error)
}
