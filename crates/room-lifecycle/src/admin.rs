//! The RPCs for operators: stuck rooms, orphans on LiveKit, and stored events.

pub mod repair;
pub mod store;

use chassis::{
    grpc::{caller, page_request, timestamp},
    status::{Fields, Reason, Refusal},
};
use domain::{
    field::{maybe_key, non_empty},
    page::{self, Cursor},
};
use proto::{
    room::v1::{self as pb, admin_service_server::AdminService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use crate::{
    error::{Error, RpcResult},
    rooms::Rooms,
};

/// The longest name of a room on LiveKit, in characters.
const MAX_NAME_CHARS: usize = 500;

/// Questions and commands of operators.
#[derive(Clone, Debug)]
pub struct Admin {
    rooms: Rooms,
}

impl Admin {
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms }
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_stuck_rooms(
        &self,
        request: Request<pb::ListStuckRoomsRequest>,
    ) -> RpcResult<pb::ListStuckRoomsResponse> {
        let request = request.into_inner();
        as_admin(request.caller)?;
        let limit = i64::try_from(page::limit(request.limit).map_err(Refusal::from)?).unwrap_or(i64::MAX);
        let (stuck, unmade) = tokio::try_join!(
            store::list_stuck(&self.rooms.pool, limit),
            store::list_unmade(&self.rooms.pool, limit)
        )
        .map_err(Error::from)?;
        Ok(Response::new(pb::ListStuckRoomsResponse {
            live_rooms: stuck.into_iter().map(stuck_room).collect(),
            rooms: unmade.into_iter().map(unmade_room).collect(),
        }))
    }

    async fn list_orphans(
        &self,
        request: Request<pb::ListOrphansRequest>,
    ) -> RpcResult<pb::ListOrphansResponse> {
        as_admin(request.into_inner().caller)?;
        let strays = self.find_orphans().await?;
        Ok(Response::new(pb::ListOrphansResponse {
            retired: strays.retired,
            unknown: strays.unknown,
            inhabited: strays.inhabited,
        }))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> RpcResult<pb::ListEventsResponse> {
        let request = request.into_inner();
        as_admin(request.caller)?;
        let mut wrong = Fields::default();
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        let room = wrong.check(maybe_key("roomName", request.room_name.unwrap_or_default(), MAX_NAME_CHARS));
        wrong.finish()?;
        let room = non_empty(room);
        let events =
            store::list_events(&self.rooms.pool, room.as_deref(), after, page::fetch_limit(limit)).await;
        let (events, next_cursor) = page::page(events.map_err(Error::from)?, limit, |event| Cursor {
            at: event.received_at,
            id: event.key,
        });
        Ok(Response::new(pb::ListEventsResponse {
            events: events.into_iter().map(event).collect(),
            next_cursor,
        }))
    }
}

fn as_admin(who: Option<Caller>) -> Result<(), Refusal> {
    let caller = caller(who)?;
    if caller.is_privileged() {
        return Ok(());
    }
    Err(Refusal::new(Reason::NotAdmin, "Only administrators see this."))
}

fn stuck_room(room: store::StuckLiveRoom) -> pb::StuckLiveRoom {
    let id = |id: Option<domain::LiveSessionId>| id.map(|id| id.to_string());
    pb::StuckLiveRoom {
        id: room.id.to_string(),
        host_user_id: room.host_user_id,
        status: room.status.into(),
        current_session_id: id(room.current_session_id),
        open_session_id: id(room.open_session_id),
    }
}

fn unmade_room(room: store::Unmade) -> pb::UnmadeRoom {
    pb::UnmadeRoom {
        room_name: room.room_name,
        owner_kind: room.owner_kind.into(),
        owner_id: room.owner_id.to_string(),
        status: room.status.into(),
        attempts: room.attempts,
        last_error: room.last_error,
        next_attempt_at: room.next_attempt_at.map(timestamp),
        created_at: Some(timestamp(room.created_at)),
    }
}

fn event(event: store::Event) -> pb::Event {
    pb::Event {
        id: event.event_id,
        event_type: event.event_type,
        room_id: event.room_id.map(|id| id.to_string()),
        room_sid: event.room_sid.and_then(non_empty),
        identity: event.identity.and_then(non_empty),
        participant_sid: event.participant_sid.and_then(non_empty),
        received_at: Some(timestamp(event.received_at)),
        payload_json: event.payload,
    }
}
