//! Live sessions: starts, schedules, ends and cancels them. All operations of the host are idempotent.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::grpc::timestamp;
use chassis::status::Reason::{
    IdempotencyKeyReused, InvalidRequest, MeetingStarted, NotHost, RoomNotActive, RoomNotFound, RoomNotIdle,
    TooLarge,
};
use domain::AccessLevel;
use http::{StatusCode, header};
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{LiveSession, RoomAndSession, RoomAnswer, keys, room_answer};
use crate::{
    auth::SignedIn,
    clients::Clients,
    error::Rejection,
    extract::{Id, KeyedBody, Query},
    family::LIVE,
    links::Links,
    wire,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionPage {
    /// Always true.
    ok: bool,
    sessions: Vec<LiveSession>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    pub(super) limit: Option<wire::Limit>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Lists the sessions of a live room.
///
/// Latest first, page by page. Read-only. Readers of the room.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/sessions", operation_id = "listLiveSessions",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = SessionPage, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest, RoomNotFound]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<PageQuery>,
) -> Result<Json<SessionPage>, Rejection> {
    let request = pb::ListSessionsRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor,
    };
    let page = clients.live().list_sessions(request).await?.into_inner();
    let sessions = page.sessions.into_iter().map(LiveSession::try_from).collect::<Result<_, _>>()?;
    Ok(Json(SessionPage { ok: true, sessions, next_cursor: page.next_cursor }))
}

/// All fields are optional: without any, the session is live at once, with the room's settings.
#[derive(Deserialize, ToSchema)]
pub(crate) struct GoLive {
    #[schema(max_length = 200)]
    session_title: Option<String>,
    /// Absent or past: now.
    #[serde(default, with = "time::serde::rfc3339::option")]
    starts_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    ends_at: Option<OffsetDateTime>,
    /// Whether participants are admitted without the host. Default: true.
    auto_admit: Option<bool>,
    /// How long before its start the lobby opens. Default: 15.
    #[schema(minimum = 0, maximum = 1440)]
    lobby_buffer_minutes: Option<i32>,
    /// Default: 100.
    #[schema(minimum = 1, maximum = 10000)]
    max_participants: Option<i32>,
    /// Default: the room's.
    #[schema(inline)]
    access_level: Option<AccessLevel>,
    /// Default: the room's.
    topic_keys: Option<Vec<String>>,
}

/// Starts or schedules a live session.
///
/// Goes live now, or schedules a session with `starts_at`. Idempotent: a repeat returns the same session with
/// status 200. If another session is open: 409 `room_not_idle` with its id. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/sessions", operation_id = "goLive",
    tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path), ("Idempotency-Key" = Option<String>, Header, max_length = 200,
        description = "A repeat with the same key returns the first session.")),
    request_body = GoLive,
    responses(
        (status = 201, body = RoomAndSession, description = "A new session.",
            headers(("Location" = String, description = "The URL of the room's state."))),
        (status = 200, body = RoomAndSession, description = "The session that existed.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotIdle, IdempotencyKeyReused]))))]
pub(crate) async fn go_live(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    KeyedBody(idempotency_key, body): KeyedBody<GoLive>,
) -> Result<Response, Rejection> {
    let request = pb::GoLiveRequest {
        caller: Some(caller),
        room_id,
        session_title: body.session_title,
        starts_at: body.starts_at.map(timestamp),
        ends_at: body.ends_at.map(timestamp),
        auto_admit: body.auto_admit,
        lobby_buffer_minutes: body.lobby_buffer_minutes,
        max_participants: body.max_participants,
        access_level: body.access_level.map(Into::into),
        topic_keys: body.topic_keys.map(keys),
        idempotency_key,
    };
    let answer = clients.live().go_live(request).await?.into_inner();
    // Checked here, because `of` also accepts a room without a session.
    if answer.session.is_none() {
        return Err(Rejection::Incomplete("session"));
    }
    let started = RoomAndSession::of(answer.room, answer.session)?;
    if !answer.created {
        return Ok(Json(started).into_response());
    }
    let location = links.url(&format!("{LIVE}/rooms/{}/state", started.room.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(started)).into_response())
}

/// Starts the open session.
///
/// The scheduled session, or the one whose lobby is open, is live now. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/start", operation_id = "startLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "The session is live.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn start(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().start_session(request).await)
}

/// Opens the lobby of the scheduled session.
///
/// Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/open-lobby", operation_id = "openLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "The lobby is open.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn open_lobby(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().open_lobby(request).await)
}

/// Ends the open session.
///
/// Ends the open session, or cancels it if it was never opened. Idempotent: a repeat returns the same answer. Host
/// only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/end", operation_id = "endLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "Ended.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound]))))]
pub(crate) async fn end(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().end_session(request).await)
}

/// Cancels the scheduled session.
///
/// Cancels a session that is not live yet. Idempotent: a repeat returns the same answer. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/cancel", operation_id = "cancelLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "Cancelled.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, MeetingStarted]))))]
pub(crate) async fn cancel(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().cancel_session(request).await)
}

/// Resets a live room.
///
/// Ends or cancels the open session; the room is idle. Idempotent. Host and admins only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/reset", operation_id = "resetLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "The room is idle.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound]))))]
pub(crate) async fn reset(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().reset_room(request).await)
}

/// Records that the host is present.
///
/// Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/host-present", operation_id = "markHostPresent",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "Recorded.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn host_present(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::SetHostPresentRequest { caller: Some(caller), room_id, present: true };
    room_answer(clients.live().set_host_present(request).await)
}

/// Records that the host is absent.
///
/// Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/host-absent", operation_id = "markHostAbsent",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "Recorded.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn host_absent(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::SetHostPresentRequest { caller: Some(caller), room_id, present: false };
    room_answer(clients.live().set_host_present(request).await)
}
