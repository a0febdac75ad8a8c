//! Broadcasts: going live, scheduling, and the host's verbs. Each can be said again and answers the same.

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use chassis::grpc::timestamp;
use http::{StatusCode, header};
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::{AccessLevel, FAMILY, LiveSession, RoomAndSession, RoomAnswer, keys, room_answer};
use crate::{
    app::{App, SignedIn},
    error::Rejection,
    extract::{Id, Keyed, Query},
    wire::{self, told},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionPage {
    /// always true
    ok: bool,
    sessions: Vec<LiveSession>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    pub(super) limit: Option<wire::Limit>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// The room's sessions, latest first.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/sessions", operation_id = "listLiveSessions",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path), Page),
    responses((status = 200, body = SessionPage, description = "a page")))]
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<Page>,
) -> Result<Answer<SessionPage>, Rejection> {
    let request = pb::ListSessionsRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor.unwrap_or_default(),
    };
    let page = app.live().list_sessions(request).await?.into_inner();
    let sessions = page.sessions.into_iter().map(LiveSession::from).collect();
    Ok(Answer(SessionPage { ok: true, sessions, next_cursor: told(page.next_cursor) }))
}

/// Everything may be absent: then it is live at once, as the room is.
#[derive(Deserialize, ToSchema)]
pub(crate) struct GoLive {
    #[schema(max_length = 200)]
    session_title: Option<String>,
    /// Absent or past: now.
    #[serde(default, with = "time::serde::rfc3339::option")]
    starts_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    ends_at: Option<OffsetDateTime>,
    /// Whether people are let in without the host. Default: true.
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

/// Goes live now, or schedules a session. The same wish again gives the same session (200); another one while a
/// session is open is refused with its id.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/sessions", operation_id = "goLive",
    tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path), ("Idempotency-Key" = Option<String>, Header, max_length = 200,
        description = "A second request with the same key gets the first one's session")),
    request_body = GoLive,
    responses(
        (status = 201, body = RoomAndSession, description = "a new session",
            headers(("Location" = String, description = "the room's state, with the session"))),
        (status = 200, body = RoomAndSession, description = "it was there already")))]
pub(crate) async fn go_live(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Keyed(idempotency_key, body): Keyed<GoLive>,
) -> Result<Response, Rejection> {
    let request = pb::GoLiveRequest {
        caller: Some(caller),
        room_id,
        session_title: body.session_title.unwrap_or_default(),
        starts_at: body.starts_at.map(timestamp),
        ends_at: body.ends_at.map(timestamp),
        auto_admit: body.auto_admit,
        lobby_buffer_minutes: body.lobby_buffer_minutes,
        max_participants: body.max_participants,
        access_level: body.access_level.map_or("", AccessLevel::as_str).to_owned(),
        topic_keys: body.topic_keys.map(keys),
        idempotency_key,
    };
    let answer = app.live().go_live(request).await?.into_inner();
    if answer.session.is_none() {
        return Err(Rejection::Incomplete("session"));
    }
    let told = RoomAndSession::of(answer.room, answer.session)?;
    if !answer.created {
        return Ok(Answer(told).into_response());
    }
    let location = app.link(&format!("{FAMILY}/rooms/{}/state", told.room.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(told)).into_response())
}

/// The open session starts now; for the host. Again, the same.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/start", operation_id = "startLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "live")))]
pub(crate) async fn start(State(app): State<App>, SignedIn(caller): SignedIn, Id(room_id): Id) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(app.live().start_session(request).await)
}

/// The lobby of the scheduled session opens now; for the host. Again, the same.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/open-lobby", operation_id = "openLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "people can wait in it")))]
pub(crate) async fn open_lobby(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(app.live().open_lobby(request).await)
}

/// Ends the open session, or cancels the one that never opened; for the host. Again, the same answer.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/end", operation_id = "endLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "it is over")))]
pub(crate) async fn end(State(app): State<App>, SignedIn(caller): SignedIn, Id(room_id): Id) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(app.live().end_session(request).await)
}

/// Cancels the session that is not live yet; for the host. Again, the same answer.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/cancel", operation_id = "cancelLiveSession",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "cancelled")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(app.live().cancel_session(request).await)
}

/// Whatever is open is over and the room is idle; for the host and admins.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/reset", operation_id = "resetLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "idle")))]
pub(crate) async fn reset(State(app): State<App>, SignedIn(caller): SignedIn, Id(room_id): Id) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(app.live().reset_room(request).await)
}

/// The host says that he is there.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/host-present", operation_id = "markHostPresent",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "noted")))]
pub(crate) async fn host_present(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::SetHostPresentRequest { caller: Some(caller), room_id, present: true };
    room_answer(app.live().set_host_present(request).await)
}

/// The host says that he is gone.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/host-absent", operation_id = "markHostAbsent",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "noted")))]
pub(crate) async fn host_absent(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::SetHostPresentRequest { caller: Some(caller), room_id, present: false };
    room_answer(app.live().set_host_present(request).await)
}
