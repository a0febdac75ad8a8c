//! Issues a LiveKit token for the open session. The request also takes a seat, so that a client needs one call only.

use axum::{Json, extract::State, response::IntoResponse};
use chassis::status::Reason::{
    Banned, InvalidRequest, Kicked, LivekitUnavailable, NotParticipant, OriginNotAllowed, Rejected, RoomFull,
    RoomNotActive, RoomNotFound, WaitingInLobby,
};
use domain::SeatRole;
use http::{HeaderValue, header};
use proto::{room::v1 as room, token::v1 as pb};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    auth::cookie::SignedInToJoin,
    clients::Clients,
    error::Rejection,
    extract::{Id, Query},
    limits::Limits,
    sessions::Ensure,
    wire,
};

#[derive(Serialize, ToSchema)]
pub(crate) struct LiveAccessToken {
    /// Always true.
    ok: bool,
    /// The LiveKit token. Do not store it: fetch a new one for each join.
    token: String,
    ws_url: String,
    room_name: String,
    identity: String,
    role: SeatRole,
    is_host: bool,
    can_record: bool,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

impl TryFrom<pb::IssueForLiveRoomResponse> for LiveAccessToken {
    type Error = Rejection;

    fn try_from(issued: pb::IssueForLiveRoomResponse) -> Result<Self, Rejection> {
        let role = SeatRole::try_from(issued.role)?;
        Ok(Self {
            ok: true,
            token: issued.token,
            ws_url: issued.ws_url,
            room_name: issued.room_name,
            identity: issued.identity,
            is_host: role.is_host(),
            role,
            can_record: issued.can_record,
            expires_at: wire::time("token.expires_at", issued.expires_at)?,
        })
    }
}

/// Issues a LiveKit token for the open session.
///
/// Takes a seat if the caller has none, and returns a token for it. Each call issues a new token. Participants who
/// are admitted.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/access-token", operation_id = "getLiveAccessToken",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path), Ensure),
    responses((status = 200, body = LiveAccessToken, description = "The token. The answer is never cached.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, NotParticipant, Kicked, Banned, OriginNotAllowed, WaitingInLobby, Rejected,
        RoomNotFound, RoomNotActive, RoomFull, LivekitUnavailable]))))]
pub(crate) async fn access_token(
    State(limits): State<Limits>,
    State(clients): State<Clients>,
    SignedInToJoin(caller): SignedInToJoin,
    Id(room_id): Id,
    Query(query): Query<Ensure>,
) -> Result<impl IntoResponse, Rejection> {
    let ensure_now = query.now();
    if ensure_now {
        // Before the seat is taken: a request that is refused must not take one.
        limits.limit_forced_refresh(&caller.user_id)?;
    }
    let seat = room::SeatRequest { caller: Some(caller.clone()), room_id: room_id.clone() };
    clients.seats().join(seat).await?;
    let request = pb::IssueForLiveRoomRequest { caller: Some(caller), room_id, ensure_now };
    let issued = clients.token().issue_for_live_room(request).await?.into_inner();
    let no_store = HeaderValue::from_static("no-store");
    Ok(([(header::CACHE_CONTROL, no_store)], Json(LiveAccessToken::try_from(issued)?)))
}
