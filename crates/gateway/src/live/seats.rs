//! People's places in the open session: taking one, giving it up, losing the connection.

use axum::{Json as Answer, extract::State};
use proto::room::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::Seat;
use crate::{
    app::{App, SignedIn},
    error::Rejection,
    extract::Id,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Joined {
    /// always true
    ok: bool,
    seat: Seat,
    #[schema(format = Uuid)]
    session_id: String,
}

/// Takes a seat, or takes it again; waits in the lobby when the session says so.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/join", operation_id = "joinLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Joined, description = "the caller's seat")))]
pub(crate) async fn join(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Answer<Joined>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    let joined = app.seats().join(request).await?.into_inner();
    let seat = joined.seat.ok_or(Rejection::Incomplete("seat"))?.into();
    Ok(Answer(Joined { ok: true, seat, session_id: joined.session_id }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Left {
    /// always true
    ok: bool,
    /// The seat as it was; null: there was none.
    seat: Option<Seat>,
}

impl From<pb::SeatResponse> for Left {
    fn from(answer: pb::SeatResponse) -> Self {
        Self { ok: true, seat: answer.seat.map(Seat::from) }
    }
}

/// Gives the seat up; again, the same.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/leave", operation_id = "leaveLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Left, description = "the place is free")))]
pub(crate) async fn leave(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Answer<Left>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    Ok(Answer(app.seats().leave(request).await?.into_inner().into()))
}

/// The connection is gone: the seat is held for two minutes.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/disconnect", operation_id = "disconnectFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Left, description = "the place is held")))]
pub(crate) async fn disconnect(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Answer<Left>, Rejection> {
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    Ok(Answer(app.seats().disconnect(request).await?.into_inner().into()))
}
