//! The live room of `host-1` and its open session.

use domain::{AccessLevel, LiveRoomStatus, LiveStatus, Readiness, SeatRole};
use proto::room::v1::{self as room, live_room_service_server::LiveRoomService};
use tonic::{Request, Response};

use super::{Answer, Fake, ROOM, at};

pub const LIVE_SESSION: &str = "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e04";

pub(super) fn the_room() -> room::LiveRoom {
    room::LiveRoom {
        id: ROOM.into(),
        title: "Evenings".into(),
        status: LiveRoomStatus::Live.into(),
        room_name: "Hanna's room".into(),
        room_slug: "hanna-s-room".into(),
        livekit_room_name: Some(format!("live-{LIVE_SESSION}")),
        host_user_id: "host-1".into(),
        current_session_id: Some(LIVE_SESSION.into()),
        host_present: true,
        access_level: AccessLevel::Public.into(),
        topic_keys: vec!["music".into()],
        ..room::LiveRoom::default()
    }
}

pub(super) fn the_session() -> room::LiveSession {
    room::LiveSession {
        id: LIVE_SESSION.into(),
        room_id: ROOM.into(),
        status: LiveStatus::Live.into(),
        livekit: Some(Readiness::Starting.into()),
        access_level: AccessLevel::Group.into(),
        starts_at: Some(at(0)),
        started_at: Some(at(0)),
        auto_admit: true,
        lobby_buffer_minutes: 15,
        max_participants: 100,
        ..room::LiveSession::default()
    }
}

fn both() -> Response<room::LiveRoomResponse> {
    Response::new(room::LiveRoomResponse { room: Some(the_room()), session: Some(the_session()) })
}

impl Fake {
    async fn verb(
        &self,
        method: &'static str,
        request: Request<room::LiveRoomRequest>,
    ) -> Answer<room::LiveRoomResponse> {
        self.take(method, request, |request| request.caller.clone()).await?;
        Ok(both())
    }
}

#[tonic::async_trait]
impl LiveRoomService for Fake {
    async fn get_my_room(&self, request: Request<room::GetMyRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.take("get_my_room", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::LiveRoomResponse { room: Some(the_room()), session: None }))
    }

    async fn save_my_room(
        &self,
        request: Request<room::SaveMyRoomRequest>,
    ) -> Answer<room::LiveRoomResponse> {
        self.take("save_my_room", request, |request| request.caller.clone()).await?;
        Ok(both())
    }

    async fn update_room(&self, request: Request<room::UpdateRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.take("update_room", request, |request| request.caller.clone()).await?;
        Ok(both())
    }

    async fn get_room(&self, request: Request<room::LiveRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.verb("get_room", request).await
    }

    async fn get_room_state(
        &self,
        request: Request<room::LiveRoomRequest>,
    ) -> Answer<room::GetRoomStateResponse> {
        let (_, caller) = self.take("get_room_state", request, |request| request.caller.clone()).await?;
        let is_host = caller.user_id == "host-1";
        let counts = room::Counts { lobby_waiting: 2, in_room: 3, max_participants: 100, host_present: true };
        let viewer =
            room::Viewer { role: SeatRole::Host.into(), is_host: true, lobby_status: None, is_banned: false };
        Ok(Response::new(room::GetRoomStateResponse {
            room: Some(the_room()),
            session: None,
            counts: Some(counts),
            viewer: is_host.then_some(viewer),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<room::ListSessionsRequest>,
    ) -> Answer<room::ListSessionsResponse> {
        self.take("list_sessions", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::ListSessionsResponse {
            sessions: vec![the_session()],
            next_cursor: Some("more".into()),
        }))
    }

    /// A session with the title `again` counts as an existing one.
    async fn go_live(&self, request: Request<room::GoLiveRequest>) -> Answer<room::GoLiveResponse> {
        let (request, _) = self.take("go_live", request, |request| request.caller.clone()).await?;
        Ok(Response::new(room::GoLiveResponse {
            room: Some(the_room()),
            session: Some(the_session()),
            created: request.session_title() != "again",
        }))
    }

    async fn start_session(&self, request: Request<room::LiveRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.verb("start_session", request).await
    }

    async fn open_lobby(&self, request: Request<room::LiveRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.verb("open_lobby", request).await
    }

    async fn end_session(&self, request: Request<room::LiveRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.verb("end_session", request).await
    }

    async fn cancel_session(
        &self,
        request: Request<room::LiveRoomRequest>,
    ) -> Answer<room::LiveRoomResponse> {
        self.verb("cancel_session", request).await
    }

    async fn reset_room(&self, request: Request<room::LiveRoomRequest>) -> Answer<room::LiveRoomResponse> {
        self.verb("reset_room", request).await
    }

    async fn set_host_present(
        &self,
        request: Request<room::SetHostPresentRequest>,
    ) -> Answer<room::LiveRoomResponse> {
        self.take("set_host_present", request, |request| request.caller.clone()).await?;
        Ok(both())
    }
}
