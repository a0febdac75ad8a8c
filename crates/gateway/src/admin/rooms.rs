//! Stuck rooms, orphaned LiveKit rooms, the lag of the listing, and the events of rooms.

use axum::{Json, extract::State};
use chassis::status::Reason::{InvalidRequest, LivekitUnavailable, NotAdmin};
use domain::{LiveRoomId, LiveRoomStatus, LiveSessionId, OwnerKind, RoomId, RoomStatus};
use proto::{room::v1 as room, sync::v1 as sync};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use crate::{
    clients::Clients,
    error::Rejection,
    extract::Query,
    wire::{self, Envelope},
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StuckRooms {
    /// Live rooms whose state and open session disagree. The next pass corrects them.
    live_rooms: Vec<StuckLiveRoom>,
    /// Rooms that could not be created on LiveKit yet.
    rooms: Vec<UnmadeRoom>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StuckLiveRoom {
    #[schema(value_type = LiveRoomId)]
    id: String,
    host_user_id: String,
    /// As it is written.
    status: LiveRoomStatus,
    #[schema(value_type = Option<LiveSessionId>)]
    current_session_id: Option<String>,
    #[schema(value_type = Option<LiveSessionId>)]
    open_session_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UnmadeRoom {
    room_name: String,
    owner_kind: OwnerKind,
    #[schema(format = Uuid)]
    owner_id: String,
    /// Pending or failed.
    status: RoomStatus,
    attempts: i32,
    last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    next_attempt_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
}

impl TryFrom<room::StuckLiveRoom> for StuckLiveRoom {
    type Error = Rejection;

    fn try_from(stuck: room::StuckLiveRoom) -> Result<Self, Rejection> {
        Ok(Self {
            id: stuck.id,
            host_user_id: stuck.host_user_id,
            status: stuck.status.try_into()?,
            current_session_id: stuck.current_session_id,
            open_session_id: stuck.open_session_id,
        })
    }
}

impl TryFrom<room::UnmadeRoom> for UnmadeRoom {
    type Error = Rejection;

    fn try_from(unmade: room::UnmadeRoom) -> Result<Self, Rejection> {
        Ok(Self {
            room_name: unmade.room_name,
            owner_kind: unmade.owner_kind.try_into()?,
            owner_id: unmade.owner_id,
            status: unmade.status.try_into()?,
            attempts: unmade.attempts,
            last_error: unmade.last_error,
            next_attempt_at: wire::time_or_null(unmade.next_attempt_at),
            created_at: wire::time_or_null(unmade.created_at),
        })
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AtMost {
    /// Of each list. Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
}

/// Lists rooms that need a repair.
///
/// Returns what the next pass would have to set right. Usually empty. Read-only. Admins only.
#[utoipa::path(get, path = "/api/v1/admin/stuck-rooms", operation_id = "listStuckRooms", tag = "Operation",
    params(AtMost), responses((status = 200, body = Envelope<StuckRooms>, description = "The list.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotAdmin]))))]
pub(crate) async fn stuck(
    State(clients): State<Clients>,
    Admin(caller): Admin,
    Query(query): Query<AtMost>,
) -> Result<Json<Envelope<StuckRooms>>, Rejection> {
    let request = room::ListStuckRoomsRequest { caller: Some(caller), limit: wire::limit(query.limit) };
    let found = clients.admin().list_stuck_rooms(request).await?.into_inner();
    Ok(Envelope::new(StuckRooms {
        // One value that this gateway does not know fails the whole answer: an admin must not get an
        // incomplete list.
        live_rooms: found.live_rooms.into_iter().map(StuckLiveRoom::try_from).collect::<Result<_, _>>()?,
        rooms: found.rooms.into_iter().map(UnmadeRoom::try_from).collect::<Result<_, _>>()?,
    }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Orphans {
    /// Created by this deployment and no longer needed. The next pass deletes them.
    retired: Vec<String>,
    /// With this deployment's id, empty and without a record. Deleted when observed twice.
    unknown: Vec<String>,
    /// The same with participants: never deleted.
    inhabited: Vec<String>,
}

/// Lists LiveKit rooms without a record.
///
/// Returns the names of rooms that no booking, live room or nest needs. Usually empty. Read-only. Admins only.
#[utoipa::path(get, path = "/api/v1/admin/orphans", operation_id = "listOrphans", tag = "Operation",
    responses((status = 200, body = Envelope<Orphans>, description = "The list.")),
    extensions(("x-refuses" = json!([NotAdmin, LivekitUnavailable]))))]
pub(crate) async fn orphans(
    State(clients): State<Clients>,
    Admin(caller): Admin,
) -> Result<Json<Envelope<Orphans>>, Rejection> {
    let request = room::ListOrphansRequest { caller: Some(caller) };
    let room::ListOrphansResponse { retired, unknown, inhabited } =
        clients.admin().list_orphans(request).await?.into_inner();
    Ok(Envelope::new(Orphans { retired, unknown, inhabited }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListingStatus {
    /// Rows of the listing that wait to be written again.
    dirty: i64,
    /// Of them, those that failed and are retried later.
    set_aside: i64,
    /// Age of the oldest one that is due.
    lag_seconds: f64,
    /// Rows that the last whole comparison found different.
    drift: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    compared_at: Option<OffsetDateTime>,
}

/// Returns how far the listing is behind.
///
/// Returns the state that one replica of the sync service observes. Read-only. Admins only.
#[utoipa::path(get, path = "/api/v1/admin/drift", operation_id = "getDrift", tag = "Operation",
    responses((status = 200, body = Envelope<ListingStatus>, description = "The state of the listing.")),
    extensions(("x-refuses" = json!([NotAdmin]))))]
pub(crate) async fn drift(
    State(clients): State<Clients>,
    Admin(caller): Admin,
) -> Result<Json<Envelope<ListingStatus>>, Rejection> {
    let request = sync::GetStatusRequest { caller: Some(caller) };
    let status = clients.sync().get_status(request).await?.into_inner();
    Ok(Envelope::new(ListingStatus {
        dirty: status.dirty,
        set_aside: status.set_aside,
        lag_seconds: status.lag_seconds,
        drift: status.drift,
        compared_at: wire::time_or_null(status.compared_at),
    }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomEvent {
    /// LiveKit's, or our own (`GR_…`).
    id: String,
    event_type: String,
    #[schema(value_type = Option<RoomId>)]
    room_id: Option<String>,
    room_sid: Option<String>,
    identity: Option<String>,
    participant_sid: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    received_at: Option<OffsetDateTime>,
    #[schema(value_type = Object)]
    payload: Value,
}

impl From<room::Event> for RoomEvent {
    fn from(event: room::Event) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            room_id: event.room_id,
            room_sid: event.room_sid,
            identity: event.identity,
            participant_sid: event.participant_sid,
            received_at: wire::time_or_null(event.received_at),
            payload: serde_json::from_str(&event.payload_json).unwrap_or_default(),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListEvents {
    /// A LiveKit room name. Default: all.
    room_name: Option<String>,
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Lists the events of rooms.
///
/// Returns LiveKit's webhooks and our own milestones, latest first, page by page. Read-only. Admins only.
#[utoipa::path(get, path = "/api/v1/admin/events", operation_id = "listEvents", tag = "Operation",
    params(ListEvents), responses((status = 200, body = Envelope<Vec<RoomEvent>>, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotAdmin]))))]
pub(crate) async fn events(
    State(clients): State<Clients>,
    Admin(caller): Admin,
    Query(query): Query<ListEvents>,
) -> Result<Json<Envelope<Vec<RoomEvent>>>, Rejection> {
    let request = room::ListEventsRequest {
        caller: Some(caller),
        room_name: query.room_name,
        limit: wire::limit(query.limit),
        cursor: query.cursor,
    };
    let page = clients.admin().list_events(request).await?.into_inner();
    Ok(Envelope::page(page.events.into_iter().map(RoomEvent::from).collect(), page.next_cursor))
}
