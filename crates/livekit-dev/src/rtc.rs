//! The answers before the WebSocket upgrade: `/rtc`, `/rtc/validate`, and the paths of the newer protocol, which
//! this server does not have and says so in the way that makes a client fall back.

use std::time::Duration;

use axum::{
    Extension,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header::UPGRADE},
    response::{IntoResponse, Response},
};
use livekit_protocol::ParticipantInfo;
use serde::Deserialize;

use crate::{
    LiveKitDev,
    auth::{Caller, TokenError},
    clock::Hand,
    grants::Claims,
    limits, redis,
    room_service::NO_NODES,
    signal,
    state::{
        CreateError,
        people::{Admission, AdmitError},
        room::{Room, RoomSpec},
    },
};

/// Why a join is refused; the texts are what the server sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no permissions to access the room")]
    NoGrant,
    #[error("permissions denied")]
    Denied,
    #[error("identity cannot be empty")]
    NoIdentity,
    #[error("participant identity length exceeds limits: max length 256")]
    LongIdentity,
    #[error("no room name")]
    NoRoomName,
    #[error("room name length exceeds limits: max length 256")]
    LongRoomName,
    #[error("requested room does not exist")]
    RoomNotFound,
    /// The room is full, or the metadata is too long. The caller cannot tell which.
    #[error("connection closed by media")]
    ClosedByMedia,
    /// The room's node was killed a moment ago and still counts as available.
    #[error("timed out while waiting for signal response")]
    NoAnswer,
    /// Redis does not answer, or has no node.
    #[error("{0}")]
    Store(&'static str),
}

impl JoinError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) | Self::NoGrant | Self::Denied => StatusCode::UNAUTHORIZED,
            Self::NoIdentity | Self::LongIdentity | Self::NoRoomName | Self::LongRoomName => {
                StatusCode::BAD_REQUEST
            }
            Self::RoomNotFound => StatusCode::NOT_FOUND,
            Self::ClosedByMedia | Self::NoAnswer | Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl JoinError {
    /// How long the real server takes to say so.
    fn after(&self) -> Duration {
        match self {
            Self::NoAnswer => Duration::from_secs(12),
            Self::Store(redis::TIMED_OUT) => Duration::from_secs(23),
            _ => Duration::ZERO,
        }
    }
}

impl IntoResponse for JoinError {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}

/// What a client may bring in the query that its token must allow.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ConnectQuery {
    #[serde(default)]
    attributes: String,
    #[serde(default)]
    metadata: String,
}

pub(crate) async fn validate(
    State(server): State<LiveKitDev>,
    Extension(Caller(claims)): Extension<Caller>,
    Query(query): Query<ConnectQuery>,
) -> Response {
    if let Some(response) = server.go_wrong("rtc/validate").await {
        return response;
    }
    match check(&server, claims.as_ref(), &query) {
        Ok(_) => "success".into_response(),
        Err(error) => refuse(&server, error).await,
    }
}

async fn refuse(server: &LiveKitDev, error: JoinError) -> Response {
    server.wait(error.after()).await;
    error.into_response()
}

pub(crate) async fn connect(
    State(server): State<LiveKitDev>,
    Extension(Caller(claims)): Extension<Caller>,
    Query(query): Query<ConnectQuery>,
    request: Request,
) -> Response {
    if let Some(response) = server.go_wrong("rtc").await {
        return response;
    }
    if !wants_websocket(request.headers()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let admission = match check(&server, claims.as_ref(), &query) {
        Ok(admission) => admission,
        Err(error) => return refuse(&server, error).await,
    };
    let room = admission.room.name.clone();
    if server.look(|world| world.rooms.get(&room).is_some_and(Room::is_full)) {
        return JoinError::ClosedByMedia.into_response();
    }
    if !admission.may_create {
        return signal::absent();
    }
    match enter(&server, admission) {
        Ok(participant) => signal::connect(server, room, &participant, request),
        Err(error) => refuse(&server, error).await,
    }
}

/// `404 page not found` without the words about the room: a client then tries `/rtc`.
pub(crate) fn page_not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// Joins as far as the token goes: signalling, not yet active.
pub(crate) fn admit(server: &LiveKitDev, claims: &Claims) -> Result<ParticipantInfo, JoinError> {
    enter(server, check(server, Some(claims), &ConnectQuery::default())?)
}

fn enter(server: &LiveKitDev, admission: Admission) -> Result<ParticipantInfo, JoinError> {
    if admission.metadata.len() > limits::METADATA {
        return Err(JoinError::ClosedByMedia);
    }
    let now_ms = server.clock().now_ms(Hand::Rooms);
    let admitted = server.change(|world, config| world.admit(admission, config, now_ms));
    admitted.map_err(|error| match error {
        AdmitError::RoomAbsent => JoinError::RoomNotFound,
        AdmitError::RoomFull => JoinError::ClosedByMedia,
        AdmitError::NoNode(CreateError::NoAnswer) => JoinError::NoAnswer,
        AdmitError::NoNode(CreateError::NoNodes) => JoinError::Store(NO_NODES),
    })
}

/// What `/rtc` and `/rtc/validate` both ask, in their order.
fn check(server: &LiveKitDev, claims: Option<&Claims>, query: &ConnectQuery) -> Result<Admission, JoinError> {
    let (claims, grant) =
        claims.and_then(|claims| Some((claims, claims.video.as_ref()?))).ok_or(JoinError::NoGrant)?;
    if !grant.room_join {
        return Err(JoinError::Denied);
    }
    match claims.identity().len() {
        0 => return Err(JoinError::NoIdentity),
        length if length > limits::NAME => return Err(JoinError::LongIdentity),
        _ => {}
    }
    match grant.room.len() {
        0 => return Err(JoinError::NoRoomName),
        length if length > limits::NAME => return Err(JoinError::LongRoomName),
        _ => {}
    }
    let brings_own = !query.attributes.is_empty() || !query.metadata.is_empty();
    if brings_own && !grant.can_update_own_metadata.unwrap_or(false) {
        return Err(JoinError::Denied);
    }
    let kind = claims.participant_kind();
    let admission = Admission {
        room: RoomSpec::from_token(&grant.room, claims.room_config.as_ref()),
        may_create: grant.room_create,
        identity: claims.identity().to_owned(),
        name: claims.name.clone(),
        metadata: claims.metadata.clone(),
        attributes: claims.attributes.clone(),
        kind,
        permission: grant.permission(),
        dependent: grant.is_dependent(kind),
    };
    redis::check(server)?;
    let found = server.look(|world| world.would_find_room(&admission, server.config()));
    if found { Ok(admission) } else { Err(JoinError::RoomNotFound) }
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
