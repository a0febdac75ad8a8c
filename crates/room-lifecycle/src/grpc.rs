//! The RPCs of `RoomService`: rooms for our own services, the rooms of bookings for their parties, and webhooks.

use chassis::{
    grpc::{caller, timestamp, uuid},
    status::{Fields, Refusal},
};
use domain::{Owner, OwnerKind, Role, SessionId, field::id};
use proto::{
    room::v1::{self as pb, ensure_room_request::Owner as Wire, room_service_server::RoomService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use crate::{
    error::{Error, RpcResult},
    kinds,
    rooms::{
        Rooms,
        ensure::session_owner,
        store::{self, Record, owners::Session, participants},
    },
    webhook::Webhooks,
};

/// `RoomService` covers two features: the core, and webhooks.
#[derive(Clone, Debug)]
pub struct RoomRpcs {
    rooms: Rooms,
    webhooks: Webhooks,
}

impl RoomRpcs {
    pub fn new(rooms: Rooms, webhooks: Webhooks) -> Self {
        Self { rooms, webhooks }
    }
}

#[tonic::async_trait]
impl RoomService for RoomRpcs {
    async fn create_room(
        &self,
        request: Request<pb::CreateRoomRequest>,
    ) -> RpcResult<pb::CreateRoomResponse> {
        let request = request.into_inner();
        // For our own services the flow itself checks that the session exists and is open.
        let owner = match request.caller {
            Some(Caller { system: true, .. }) => session_owner(&request.session_id)?,
            who => self.as_party(who, &request.session_id).await?.1,
        };
        let rooms = self.rooms.clone();
        let record = self.rooms.run("create room", async move { rooms.create(owner).await }).await?;
        Ok(Response::new(pb::CreateRoomResponse {
            room: Some(room(&record)),
            meeting_url: record.meeting_url.unwrap_or_default(),
        }))
    }

    async fn ensure_room(
        &self,
        request: Request<pb::EnsureRoomRequest>,
    ) -> RpcResult<pb::EnsureRoomResponse> {
        let request = request.into_inner();
        as_system(request.caller)?;
        let owner = match request.owner.unwrap_or(Wire::SessionId(String::new())) {
            Wire::SessionId(id) => session_owner(&id)?,
            Wire::LiveSessionId(id) => Owner::LiveSession(uuid("live_session_id", &id)?),
            Wire::NestId(id) => Owner::Nest(uuid("nest_id", &id)?),
        };
        let rooms = self.rooms.clone();
        if request.ahead {
            self.rooms.run("refresh room", async move { rooms.refresh(owner).await }).await?;
            return Ok(Response::new(pb::EnsureRoomResponse { room: None }));
        }
        let ensured =
            self.rooms.run("ensure room", async move { rooms.ensure(owner, request.now).await }).await;
        // Logged without the user, which only the token service knows.
        let record = ensured
            .map_err(|error| Refusal::from(error).logged(owner.kind(), &owner.id().to_string(), ""))?;
        Ok(Response::new(pb::EnsureRoomResponse { room: Some(room(&record)) }))
    }

    async fn end_room(&self, request: Request<pb::EndRoomRequest>) -> RpcResult<pb::EndRoomResponse> {
        let request = request.into_inner();
        as_system(request.caller)?;
        let owner = session_owner(&request.session_id)?;
        let rooms = self.rooms.clone();
        self.rooms
            .run_briefly("end room", async move { rooms.reconcile_owner(owner).await })
            .await
            .unwrap_or(Ok(()))?;
        Ok(Response::new(pb::EndRoomResponse {}))
    }

    async fn retime_room(
        &self,
        request: Request<pb::RetimeRoomRequest>,
    ) -> RpcResult<pb::RetimeRoomResponse> {
        let request = request.into_inner();
        as_system(request.caller)?;
        let owner = session_owner(&request.session_id)?;
        let rooms = self.rooms.clone();
        self.rooms
            .run_briefly("retime room", async move { rooms.reconcile_owner(owner).await })
            .await
            .unwrap_or(Ok(()))?;
        Ok(Response::new(pb::RetimeRoomResponse {}))
    }

    async fn get_session_status(
        &self,
        request: Request<pb::GetSessionStatusRequest>,
    ) -> RpcResult<pb::GetSessionStatusResponse> {
        let request = request.into_inner();
        let (session, owner) = self.as_party(request.caller, &request.session_id).await?;
        let record = store::find_record(&self.rooms.pool, owner.id()).await.map_err(Error::from)?;
        let people = match &record {
            Some(record) => {
                participants::list_participants(&self.rooms.pool, record.id).await.map_err(Error::from)?
            }
            None => Vec::new(),
        };
        Ok(Response::new(pb::GetSessionStatusResponse {
            session_id: owner.id().to_string(),
            session_status: session.status.into(),
            opens_at: Some(timestamp(session.opens_at)),
            closes_at: Some(timestamp(session.closes_at)),
            room: record.as_ref().map(room),
            participants: people.into_iter().map(participant).collect(),
        }))
    }

    async fn kick_participant(
        &self,
        request: Request<pb::KickParticipantRequest>,
    ) -> RpcResult<pb::KickParticipantResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let session = wrong.check(uuid("session_id", &request.session_id));
        let user = wrong.check(id("userId", request.user_id));
        wrong.finish()?;
        let owner = Owner::Session(session);
        let session = self.session(owner).await?;
        match session.parties().role_of(&caller.user_id) {
            _ if caller.is_privileged() => {}
            Some(Role::Host) => {}
            Some(Role::Guest) => return Err(Error::NotHost.into()),
            None => return Err(Error::NotParticipant.into()),
        }
        if !session.open {
            return Err(kinds::closed(OwnerKind::Session, session.ended_reason).into());
        }
        if user == session.host_id {
            return Err(Refusal::invalid("userId", "must be another person than the host").into());
        }
        let rooms = self.rooms.clone();
        if !self.rooms.run("kick", async move { rooms.kick(owner, &user).await }).await? {
            return Err(Refusal::invalid("userId", "must be a participant of this session").into());
        }
        Ok(Response::new(pb::KickParticipantResponse {}))
    }

    async fn receive_webhook(
        &self,
        request: Request<pb::ReceiveWebhookRequest>,
    ) -> RpcResult<pb::ReceiveWebhookResponse> {
        let request = request.into_inner();
        self.webhooks.receive(&request.authorization, &request.body).await?;
        Ok(Response::new(pb::ReceiveWebhookResponse {}))
    }
}

impl RoomRpcs {
    async fn session(&self, owner: Owner) -> Result<Session, Error> {
        store::owners::find_session(&self.rooms.pool, SessionId(owner.id())).await?.ok_or(Error::NoSession)
    }

    /// Returns the session to one of its parties, an admin or our own services.
    async fn as_party(&self, who: Option<Caller>, session_id: &str) -> Result<(Session, Owner), Error> {
        let caller = caller(who)?;
        let owner = session_owner(session_id)?;
        let session = self.session(owner).await?;
        if session.parties().role_of(&caller.user_id).is_none() && !caller.is_privileged() {
            return Err(Error::NotParticipant);
        }
        Ok((session, owner))
    }
}

fn as_system(who: Option<Caller>) -> Result<(), Error> {
    if caller(who)?.system { Ok(()) } else { Err(Error::NotParticipant) }
}

fn room(record: &Record) -> pb::Room {
    pb::Room {
        id: record.id.to_string(),
        status: record.status.into(),
        room_name: record.room_name.clone(),
        room_sid: record.room_sid.clone(),
        generation: record.generation,
        confirmed_at: record.confirmed_at.map(timestamp),
    }
}

fn participant(one: participants::Participant) -> pb::Participant {
    pb::Participant {
        name: one.name.unwrap_or_else(|| one.user_id.clone()),
        user_id: one.user_id,
        role: one.role.into(),
        status: one.status.into(),
        joined_at: one.joined_at.map(timestamp),
        left_at: one.left_at.map(timestamp),
    }
}
