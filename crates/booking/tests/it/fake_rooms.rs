//! A scripted room service in place of room-lifecycle.

use std::sync::{Arc, Mutex};

use chassis::status::{Reason, Refusal};
use proto::{
    room::v1::{self as room, room_service_server::*},
    types::v1::{Caller, RoomStatus},
};
use sqlx::PgPool;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// How the room service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Works,
    Fails,
    Hangs,
}

/// A room service that records its calls, and writes the record of rooms as the real one does.
#[derive(Clone)]
pub struct FakeRooms {
    pool: PgPool,
    mode: Arc<Mutex<Mode>>,
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
}

impl FakeRooms {
    pub fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), mode: Arc::new(Mutex::new(Mode::Works)), calls: Arc::default() }
    }

    pub fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn calls(&self, method: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.0 == method).count()
    }

    async fn called(&self, method: &'static str, caller: Option<Caller>, id: &str) -> Result<(), Status> {
        assert!(caller.is_some_and(|caller| caller.system), "the caller is not one of our own services");
        self.calls.lock().unwrap().push((method, id.to_owned()));
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Works => Ok(()),
            Mode::Fails => Err(Refusal::unavailable(Reason::LivekitUnavailable, 2).into()),
            Mode::Hangs => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl RoomService for FakeRooms {
    async fn create_room(
        &self,
        request: Request<room::CreateRoomRequest>,
    ) -> Result<Response<room::CreateRoomResponse>, Status> {
        let request = request.into_inner();
        self.called("CreateRoom", request.caller, &request.session_id).await?;
        let room = insert_room(&self.pool, &request.session_id).await;
        Ok(Response::new(room::CreateRoomResponse { room: Some(room), ..Default::default() }))
    }

    async fn end_room(
        &self,
        request: Request<room::EndRoomRequest>,
    ) -> Result<Response<room::EndRoomResponse>, Status> {
        let request = request.into_inner();
        self.called("EndRoom", request.caller, &request.session_id).await?;
        Ok(Response::new(room::EndRoomResponse {}))
    }

    async fn retime_room(
        &self,
        request: Request<room::RetimeRoomRequest>,
    ) -> Result<Response<room::RetimeRoomResponse>, Status> {
        let request = request.into_inner();
        self.called("RetimeRoom", request.caller, &request.session_id).await?;
        Ok(Response::new(room::RetimeRoomResponse {}))
    }

    async fn ensure_room(
        &self,
        _: Request<room::EnsureRoomRequest>,
    ) -> Result<Response<room::EnsureRoomResponse>, Status> {
        Err(Status::unimplemented("booking never calls this"))
    }

    async fn get_session_status(
        &self,
        _: Request<room::GetSessionStatusRequest>,
    ) -> Result<Response<room::GetSessionStatusResponse>, Status> {
        Err(Status::unimplemented("booking never calls this"))
    }

    async fn kick_participant(
        &self,
        _: Request<room::KickParticipantRequest>,
    ) -> Result<Response<room::KickParticipantResponse>, Status> {
        Err(Status::unimplemented("booking never calls this"))
    }

    async fn receive_webhook(
        &self,
        _: Request<room::ReceiveWebhookRequest>,
    ) -> Result<Response<room::ReceiveWebhookResponse>, Status> {
        Err(Status::unimplemented("booking never calls this"))
    }
}

pub async fn insert_room(pool: &PgPool, booking: &str) -> room::Room {
    let id: Uuid = booking.parse().unwrap();
    sqlx::query!(
        "insert into livekit_rooms (session_id, room_name, room_sid, status, max_participants)
         values ($1::uuid, 'session-' || $1::uuid, 'RM_test', 'active', 2) on conflict do nothing",
        id
    )
    .execute(pool)
    .await
    .unwrap();
    room::Room {
        status: RoomStatus::Active.into(),
        room_name: format!("session-{id}"),
        room_sid: Some("RM_test".into()),
        ..Default::default()
    }
}
