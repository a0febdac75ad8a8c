//! The admin service.

use domain::{LiveRoomStatus, OwnerKind, RoomStatus};
use proto::room::v1::{self as room, admin_service_server::AdminService};
use tonic::{Request, Response};

use super::{Answer, Fake, at};

#[tonic::async_trait]
impl AdminService for Fake {
    async fn list_stuck_rooms(
        &self,
        request: Request<room::ListStuckRoomsRequest>,
    ) -> Answer<room::ListStuckRoomsResponse> {
        self.take("list_stuck_rooms", request, |request| request.caller.clone()).await?;
        let stuck = room::StuckLiveRoom {
            id: super::ROOM.into(),
            host_user_id: "host-1".into(),
            status: LiveRoomStatus::Live.into(),
            ..room::StuckLiveRoom::default()
        };
        let unmade = room::UnmadeRoom {
            room_name: "session-x".into(),
            owner_kind: OwnerKind::Session.into(),
            owner_id: super::SESSION.into(),
            status: RoomStatus::Pending.into(),
            attempts: 3,
            last_error: Some("LiveKit did not answer".into()),
            next_attempt_at: Some(at(60)),
            created_at: Some(at(0)),
        };
        Ok(Response::new(room::ListStuckRoomsResponse { live_rooms: vec![stuck], rooms: vec![unmade] }))
    }

    async fn list_orphans(
        &self,
        request: Request<room::ListOrphansRequest>,
    ) -> Answer<room::ListOrphansResponse> {
        self.take("list_orphans", request, |request| request.caller.clone()).await?;
        let names = |name: &str| vec![name.to_owned()];
        let (retired, unknown) = (names("session-old"), names("session-unknown"));
        Ok(Response::new(room::ListOrphansResponse { retired, unknown, inhabited: Vec::new() }))
    }

    async fn list_events(
        &self,
        request: Request<room::ListEventsRequest>,
    ) -> Answer<room::ListEventsResponse> {
        self.take("list_events", request, |request| request.caller.clone()).await?;
        let event = room::Event {
            id: "EV_1".into(),
            event_type: "room_started".into(),
            received_at: Some(at(0)),
            payload_json: r#"{"event":"room_started"}"#.into(),
            ..room::Event::default()
        };
        Ok(Response::new(room::ListEventsResponse { events: vec![event], next_cursor: Some("more".into()) }))
    }
}
