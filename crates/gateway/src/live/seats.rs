//! Seats in the open session: takes, gives up and holds them.

use axum::{Json, extract::State};
use chassis::status::Reason::{
    Banned, InvalidRequest, Kicked, Rejected, RoomFull, RoomNotActive, RoomNotFound,
};
use domain::LiveSessionId;
use proto::room::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::Seat;
use crate::{auth::SignedIn, clients::Clients, error::Rejection, extract::Id};

#[derive(Serialize, ToSchema)]
pub(crate) struct Joined {
    /// Always true.
    ok: bool,
    seat: Seat,
    #[schema(value_type = LiveSessionId)]
    session_id: String,
}

/// Takes a seat in the open session.
///
/// The caller waits in the lobby if the session requires it. Idempotent: a caller with a seat keeps it. Readers of
/// the room, unless kicked, banned or rejected.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/join", operation_id = "joinLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Joined, description = "The caller's seat.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, Kicked, Banned, Rejected, RoomNotFound, RoomNotActive, RoomFull]))))]
pub(crate) async fn join(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Json<Joined>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    let joined = clients.seats().join(request).await?.into_inner();
    let seat = joined.seat.ok_or(Rejection::Incomplete("seat"))?.try_into()?;
    Ok(Json(Joined { ok: true, seat, session_id: joined.session_id }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Left {
    /// Always true.
    ok: bool,
    /// The seat as it was; null: there was none.
    seat: Option<Seat>,
}

impl TryFrom<pb::SeatResponse> for Left {
    type Error = Rejection;

    fn try_from(answer: pb::SeatResponse) -> Result<Self, Rejection> {
        Ok(Self { ok: true, seat: answer.seat.map(Seat::try_from).transpose()? })
    }
}

/// Gives up the caller's seat.
///
/// Idempotent. Readers of the room.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/leave", operation_id = "leaveLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Left, description = "The seat is free.")),
    extensions(("x-refuses" = json!([InvalidRequest, RoomNotFound]))))]
pub(crate) async fn leave(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Json<Left>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    clients.seats().leave(request).await?.into_inner().try_into().map(Json)
}

/// Reports that the caller's connection is lost.
///
/// The seat is held for two minutes. Idempotent. Readers of the room.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/disconnect", operation_id = "disconnectFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Left, description = "The seat is held.")),
    extensions(("x-refuses" = json!([InvalidRequest, RoomNotFound]))))]
pub(crate) async fn disconnect(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Json<Left>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    clients.seats().disconnect(request).await?.into_inner().try_into().map(Json)
}
