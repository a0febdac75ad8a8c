//! A host's permanent room: one per person, created on first use.

use axum::{Json, extract::State};
use chassis::status::Reason::{InvalidRequest, NotHost, RoomNotFound, TooLarge};
use domain::{AccessLevel, LobbyStatus, SeatRole};
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LiveRoom, LiveSession, RoomAndSession, RoomAnswer, keys, room_answer};
use crate::{
    auth::SignedIn,
    clients::Clients,
    error::Rejection,
    extract::{Id, JsonBody},
};

/// The fields that a host can set. Absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
pub(crate) struct RoomFields {
    #[schema(max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 5000)]
    description: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    room_name: Option<String>,
    /// Empty: none.
    cover_image_url: Option<String>,
    #[schema(inline)]
    access_level: Option<AccessLevel>,
    topic_keys: Option<Vec<String>>,
    /// Groups that may read the room when its access level is `group`.
    groups: Option<Vec<String>>,
}

impl From<RoomFields> for pb::LiveRoomFields {
    fn from(fields: RoomFields) -> Self {
        Self {
            title: fields.title,
            description: fields.description,
            room_name: fields.room_name,
            cover_image_url: fields.cover_image_url,
            access_level: fields.access_level.map(Into::into),
            topic_keys: fields.topic_keys.map(keys),
            groups: fields.groups.map(keys),
        }
    }
}

/// Returns the caller's live room.
///
/// Creates it on first use; concurrent calls get the same room. Idempotent. Any signed-in person.
#[utoipa::path(get, path = "/api/v1/live/rooms/me", operation_id = "getMyLiveRoom", tag = "Live rooms",
    responses((status = 200, body = RoomAndSession, description = "The caller's room.")),
    extensions(("x-refuses" = json!([]))))]
pub(crate) async fn mine(State(clients): State<Clients>, SignedIn(caller): SignedIn) -> RoomAnswer {
    let request = pb::GetMyRoomRequest { caller: Some(caller) };
    room_answer(clients.live().get_my_room(request).await)
}

/// Changes the caller's live room.
///
/// Creates it on first use. Absent fields stay as they are. Idempotent. Any signed-in person.
#[utoipa::path(post, path = "/api/v1/live/rooms", operation_id = "saveMyLiveRoom", tag = "Live rooms",
    request_body = RoomFields,
    responses((status = 200, body = RoomAndSession, description = "The caller's room.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge]))))]
pub(crate) async fn save(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    JsonBody(body): JsonBody<RoomFields>,
) -> RoomAnswer {
    let request = pb::SaveMyRoomRequest { caller: Some(caller), fields: Some(body.into()) };
    room_answer(clients.live().save_my_room(request).await)
}

/// Changes a live room.
///
/// Absent fields stay as they are. Idempotent. Host only.
#[utoipa::path(patch, path = "/api/v1/live/rooms/{room_id}", operation_id = "patchLiveRoom", tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path)), request_body = RoomFields,
    responses((status = 200, body = RoomAndSession, description = "The changed room.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound]))))]
pub(crate) async fn patch(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    JsonBody(body): JsonBody<RoomFields>,
) -> RoomAnswer {
    let request = pb::UpdateRoomRequest { caller: Some(caller), room_id, fields: Some(body.into()) };
    room_answer(clients.live().update_room(request).await)
}

/// Returns a live room.
///
/// Read-only. Readers of the room: any signed-in person if its access level is `public`, else the host, admins and
/// members of its groups.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}", operation_id = "getLiveRoom", tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomAndSession, description = "The room.")),
    extensions(("x-refuses" = json!([InvalidRequest, RoomNotFound]))))]
pub(crate) async fn get(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> RoomAnswer {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    room_answer(clients.live().get_room(request).await)
}

/// The room, its open session and the number of participants.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomState {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    /// The open session.
    session: Option<LiveSession>,
    counts: Counts,
    /// The caller. Null: neither the host nor a participant, now or before.
    viewer: Option<Viewer>,
}

#[derive(Serialize, ToSchema)]
struct Counts {
    lobby_waiting: i32,
    /// Participants that are observed on LiveKit, including the host.
    in_room: i32,
    max_participants: i32,
    host_present: bool,
}

#[derive(Serialize, ToSchema)]
struct Viewer {
    role: SeatRole,
    is_host: bool,
    /// Null: no seat.
    lobby_status: Option<LobbyStatus>,
    is_banned: bool,
}

impl TryFrom<pb::GetRoomStateResponse> for RoomState {
    type Error = Rejection;

    fn try_from(state: pb::GetRoomStateResponse) -> Result<Self, Rejection> {
        let counts = state.counts.ok_or(Rejection::Incomplete("counts"))?;
        Ok(Self {
            ok: true,
            room: state.room.ok_or(Rejection::Incomplete("room"))?.try_into()?,
            session: state.session.map(LiveSession::try_from).transpose()?,
            counts: Counts {
                lobby_waiting: counts.lobby_waiting,
                in_room: counts.in_room,
                max_participants: counts.max_participants,
                host_present: counts.host_present,
            },
            viewer: state.viewer.map(Viewer::try_from).transpose()?,
        })
    }
}

impl TryFrom<pb::Viewer> for Viewer {
    type Error = Rejection;

    fn try_from(viewer: pb::Viewer) -> Result<Self, Rejection> {
        Ok(Self {
            role: viewer.role.try_into()?,
            is_host: viewer.is_host,
            lobby_status: viewer.lobby_status.map(TryInto::try_into).transpose()?,
            is_banned: viewer.is_banned,
        })
    }
}

/// Returns the state of a live room.
///
/// Returns the room, its open session, the number of participants and the caller's seat, as recorded. Read-only.
/// Readers of the room.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/state", operation_id = "getLiveRoomState",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomState, description = "The recorded state.")),
    extensions(("x-refuses" = json!([InvalidRequest, RoomNotFound]))))]
pub(crate) async fn state(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
) -> Result<Json<RoomState>, Rejection> {
    let request = pb::LiveRoomRequest { caller: Some(caller), room_id };
    let state = clients.live().get_room_state(request).await?.into_inner();
    RoomState::try_from(state).map(Json)
}
