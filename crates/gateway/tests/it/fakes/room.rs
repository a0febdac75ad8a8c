//! The rooms of bookings.

use domain::{ParticipantStatus, Role, RoomStatus, SessionStatus};
use proto::room::v1::{self as room, room_service_server::RoomService};
use tonic::{Request, Response, Status};

use super::{Answer, Fake, SESSION, at};

fn the_room() -> room::Room {
    room::Room {
        id: SESSION.into(),
        status: RoomStatus::Active.into(),
        room_name: format!("session-{SESSION}"),
        room_sid: Some("RM_x".into()),
        generation: 1,
        confirmed_at: Some(at(0)),
    }
}

#[tonic::async_trait]
impl RoomService for Fake {
    async fn create_room(
        &self,
        request: Request<room::CreateRoomRequest>,
    ) -> Answer<room::CreateRoomResponse> {
        let caller = |request: &room::CreateRoomRequest| request.caller.clone();
        self.take("create_room", request, caller).await?;
        Ok(Response::new(room::CreateRoomResponse {
            room: Some(the_room()),
            meeting_url: "http://app.test/meeting".into(),
        }))
    }

    async fn ensure_room(&self, _: Request<room::EnsureRoomRequest>) -> Answer<room::EnsureRoomResponse> {
        Err(Status::unimplemented("the gateway does not call it"))
    }

    async fn end_room(&self, _: Request<room::EndRoomRequest>) -> Answer<room::EndRoomResponse> {
        Err(Status::unimplemented("the gateway does not call it"))
    }

    async fn retime_room(&self, _: Request<room::RetimeRoomRequest>) -> Answer<room::RetimeRoomResponse> {
        Err(Status::unimplemented("the gateway does not call it"))
    }

    async fn get_session_status(
        &self,
        request: Request<room::GetSessionStatusRequest>,
    ) -> Answer<room::GetSessionStatusResponse> {
        let caller = |request: &room::GetSessionStatusRequest| request.caller.clone();
        self.take("get_session_status", request, caller).await?;
        Ok(Response::new(room::GetSessionStatusResponse {
            session_id: SESSION.into(),
            session_status: SessionStatus::Scheduled.into(),
            opens_at: Some(at(-900)),
            closes_at: Some(at(7200)),
            room: Some(the_room()),
            participants: vec![room::Participant {
                user_id: "host-1".into(),
                name: "Hanna".into(),
                role: Role::Host.into(),
                status: ParticipantStatus::Joined.into(),
                joined_at: Some(at(0)),
                left_at: None,
            }],
        }))
    }

    async fn kick_participant(
        &self,
        request: Request<room::KickParticipantRequest>,
    ) -> Answer<room::KickParticipantResponse> {
        let caller = |request: &room::KickParticipantRequest| request.caller.clone();
        self.take("kick_participant", request, caller).await?;
        Ok(Response::new(room::KickParticipantResponse {}))
    }

    async fn receive_webhook(
        &self,
        request: Request<room::ReceiveWebhookRequest>,
    ) -> Answer<room::ReceiveWebhookResponse> {
        let caller = |_: &room::ReceiveWebhookRequest| None;
        self.take("receive_webhook", request, caller).await?;
        Ok(Response::new(room::ReceiveWebhookResponse {}))
    }
}
