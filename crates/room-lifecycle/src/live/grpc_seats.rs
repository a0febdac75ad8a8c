//! The gRPC service of seats.

use chassis::{
    grpc::{caller, page_request, timestamp, uuid},
    status::{Fields, Reason, Refusal},
};
use domain::{
    LiveRoomId, OwnerKind,
    field::{id, non_empty},
    page::{self, Cursor},
};
use proto::{
    room::v1::{self as pb, seat_service_server::SeatService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use super::{
    LiveRooms,
    store::{lobby::Waiting, seats::Seat},
};
use crate::error::RpcResult;

#[tonic::async_trait]
impl SeatService for LiveRooms {
    async fn join(&self, request: Request<pb::SeatRequest>) -> RpcResult<pb::JoinResponse> {
        let (caller, room) = parse(request)?;
        let joined = self.join_live_room(&caller, room).await;
        let (taken, session) = joined.map_err(|error| {
            Refusal::from(error).logged(OwnerKind::LiveSession, &room.to_string(), &caller.user_id)
        })?;
        Ok(Response::new(pb::JoinResponse { seat: Some(seat(taken)), session_id: session.to_string() }))
    }

    async fn leave(&self, request: Request<pb::SeatRequest>) -> RpcResult<pb::SeatResponse> {
        let (caller, room) = parse(request)?;
        let left = self.leave_live_room(&caller, room).await?;
        Ok(Response::new(pb::SeatResponse { seat: left.map(seat) }))
    }

    async fn disconnect(&self, request: Request<pb::SeatRequest>) -> RpcResult<pb::SeatResponse> {
        let (caller, room) = parse(request)?;
        let held = self.disconnect_from_live_room(&caller, room).await?;
        Ok(Response::new(pb::SeatResponse { seat: held.map(seat) }))
    }

    async fn list_lobby(&self, request: Request<pb::ListLobbyRequest>) -> RpcResult<pb::ListLobbyResponse> {
        let request = request.into_inner();
        let caller = require_user(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        wrong.finish()?;
        let waiting = self.list_lobby(&caller, room, after, page::fetch_limit(limit)).await?;
        let (waiting, next_cursor) = page::page(waiting, limit, |one| Cursor { at: one.since, id: one.key });
        let waiting = waiting.into_iter().map(waiting_user).collect();
        Ok(Response::new(pb::ListLobbyResponse { waiting, next_cursor }))
    }

    async fn admit(&self, request: Request<pb::AdmitRequest>) -> RpcResult<pb::SeatResponse> {
        let (caller, room, user) = parse_with_user(request)?;
        let admitted = self.admit(&caller, room, &user).await?.ok_or_else(not_waiting)?;
        Ok(Response::new(pb::SeatResponse { seat: Some(seat(admitted)) }))
    }

    async fn admit_all(&self, request: Request<pb::SeatRequest>) -> RpcResult<pb::AdmitAllResponse> {
        let (caller, room) = parse(request)?;
        let (admitted, waiting) = self.admit_all(&caller, room).await?;
        Ok(Response::new(pb::AdmitAllResponse {
            admitted: i32::try_from(admitted).unwrap_or(i32::MAX),
            still_waiting: i32::try_from(waiting).unwrap_or(i32::MAX),
        }))
    }

    async fn reject(&self, request: Request<pb::AdmitRequest>) -> RpcResult<pb::SeatResponse> {
        let (caller, room, user) = parse_with_user(request)?;
        let rejected = self.reject(&caller, room, &user).await?.ok_or_else(not_waiting)?;
        Ok(Response::new(pb::SeatResponse { seat: Some(seat(rejected)) }))
    }
}

/// The caller, who must be a user: our own services take no seats.
pub(super) fn require_user(sent: Option<Caller>) -> Result<Caller, Refusal> {
    let caller = caller(sent)?;
    if caller.user_id.is_empty() {
        return Err(Refusal::new(Reason::Unauthenticated, "The request names no caller."));
    }
    Ok(caller)
}

fn parse(request: Request<pb::SeatRequest>) -> Result<(Caller, LiveRoomId), Refusal> {
    let request = request.into_inner();
    Ok((require_user(request.caller)?, uuid("room_id", &request.room_id)?))
}

fn parse_with_user(request: Request<pb::AdmitRequest>) -> Result<(Caller, LiveRoomId, String), Refusal> {
    let request = request.into_inner();
    let caller = require_user(request.caller)?;
    let mut wrong = Fields::default();
    let room = wrong.check(uuid("room_id", &request.room_id));
    let user = wrong.check(id("user_id", request.user_id));
    wrong.finish().map(|()| (caller, room, user))
}

fn not_waiting() -> Refusal {
    Refusal::invalid("user_id", "must be a person who waits in this lobby")
}

pub(super) fn seat(seat: Seat) -> pb::Seat {
    pb::Seat { role: seat.role.into(), lobby_status: seat.lobby_status.into() }
}

fn waiting_user(waiting: Waiting) -> pb::Waiting {
    pb::Waiting {
        name: waiting.name.unwrap_or_else(|| waiting.user_id.clone()),
        user_id: waiting.user_id,
        avatar_url: waiting.avatar_url.and_then(non_empty),
        waiting_since: Some(timestamp(waiting.since)),
    }
}
