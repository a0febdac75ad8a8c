//! The lobby: lists the waiting participants, and admits or rejects them.
//!
//! Host actions return the room. It is read before the action: a read that failed after the action would answer a
//! successful action with an error.

use axum::{Json, extract::State};
use chassis::status::Reason::{InvalidRequest, NotHost, RoomFull, RoomNotActive, RoomNotFound, TooLarge};
use proto::{room::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{LiveRoom, LiveSession, RoomAndSession, Seat, room_answer, sessions::PageQuery};
use crate::{
    auth::{ModerationRateLimited, SignedIn},
    clients::Clients,
    error::Rejection,
    extract::{Id, JsonBody, Query},
    wire,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Lobby {
    /// Always true.
    ok: bool,
    waiting: Vec<LobbyEntry>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LobbyEntry {
    user_id: String,
    name: String,
    avatar_url: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    waiting_since: OffsetDateTime,
}

impl TryFrom<pb::Waiting> for LobbyEntry {
    type Error = Rejection;

    fn try_from(waiting: pb::Waiting) -> Result<Self, Rejection> {
        Ok(Self {
            user_id: waiting.user_id,
            name: waiting.name,
            avatar_url: waiting.avatar_url,
            waiting_since: wire::time("waiting.waiting_since", waiting.waiting_since)?,
        })
    }
}

/// Lists who waits in the lobby.
///
/// Longest wait first, page by page. Read-only. Host only.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/lobby", operation_id = "listLobby", tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = Lobby, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<PageQuery>,
) -> Result<Json<Lobby>, Rejection> {
    let request = pb::ListLobbyRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor,
    };
    let page = clients.seats().list_lobby(request).await?.into_inner();
    let waiting = page.waiting.into_iter().map(LobbyEntry::try_from).collect::<Result<_, _>>()?;
    Ok(Json(Lobby { ok: true, waiting, next_cursor: page.next_cursor }))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct TargetUser {
    pub(super) user_id: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Admitted {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    /// The seat of that user.
    seat: Seat,
}

impl Admitted {
    pub(super) fn of(current: RoomAndSession, answer: pb::SeatResponse) -> Result<Json<Self>, Rejection> {
        let seat = answer.seat.ok_or(Rejection::Incomplete("seat"))?.try_into()?;
        Ok(Json(Self { ok: true, room: current.room, session: current.session, seat }))
    }
}

/// Reads the room and its open session.
pub(super) async fn read_room(
    clients: &Clients,
    caller: &Caller,
    room_id: &str,
) -> Result<RoomAndSession, Rejection> {
    let request = pb::LiveRoomRequest { caller: Some(caller.clone()), room_id: room_id.to_owned() };
    room_answer(clients.live().get_room(request).await).map(|Json(current)| current)
}

/// Admits a participant from the lobby.
///
/// Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/admit", operation_id = "admitFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = Admitted, description = "Admitted.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive, RoomFull]))))]
pub(crate) async fn admit(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> Result<Json<Admitted>, Rejection> {
    let current = read_room(&clients, &caller, &room_id).await?;
    let request = pb::AdmitRequest { caller: Some(caller), room_id, user_id: body.user_id };
    Admitted::of(current, clients.seats().admit(request).await?.into_inner())
}

/// Rejects a participant in the lobby.
///
/// The participant is rejected for this session. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/reject", operation_id = "rejectFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = Admitted, description = "Rejected.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn reject(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> Result<Json<Admitted>, Rejection> {
    let current = read_room(&clients, &caller, &room_id).await?;
    let request = pb::AdmitRequest { caller: Some(caller), room_id, user_id: body.user_id };
    Admitted::of(current, clients.seats().reject(request).await?.into_inner())
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AdmittedAll {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    admitted: i32,
    /// The number of participants that still wait because there was no free seat.
    still_waiting: i32,
}

/// Admits all participants from the lobby.
///
/// Longest wait first, as far as there are free seats. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/admit-all", operation_id = "admitAllFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = AdmittedAll, description = "The number of admitted participants.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn admit_all(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
) -> Result<Json<AdmittedAll>, Rejection> {
    let RoomAndSession { ok, room, session } = read_room(&clients, &caller, &room_id).await?;
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    let pb::AdmitAllResponse { admitted, still_waiting } =
        clients.seats().admit_all(request).await?.into_inner();
    Ok(Json(AdmittedAll { ok, room, session, admitted, still_waiting }))
}
