//! The gRPC service of live rooms. Writes run detached: a client that disconnects does not cancel them.

use std::{future::Future, pin::Pin};

use chassis::{
    grpc::{caller, page_request, uuid},
    status::{Fields, Reason, Refusal},
};
use domain::{
    LiveRoomId,
    page::{Cursor, fetch_limit, page},
};
use proto::{
    room::v1::{self as pb, live_room_service_server::LiveRoomService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use super::{
    LiveError, LiveRooms, convert, request,
    session_decision::{Verb, check_times},
    store::{Live, RoomReader, rooms, sessions::NewSession},
};
use crate::{
    error::{Error, RpcResult},
    rooms::store::events,
};

#[tonic::async_trait]
impl LiveRoomService for LiveRooms {
    async fn get_my_room(&self, request: Request<pb::GetMyRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let caller = require_user(request.into_inner().caller)?;
        let live = self.clone();
        self.run_write("my live room", Box::pin(async move { live.my_room(&caller).await })).await
    }

    async fn save_my_room(&self, request: Request<pb::SaveMyRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let request = request.into_inner();
        let caller = require_user(request.caller)?;
        let mut wrong = Fields::default();
        let fields = request::room_fields(request.fields.unwrap_or_default(), &mut wrong);
        wrong.finish()?;
        let live = self.clone();
        let flow = async move {
            let mine = live.my_room(&caller).await?;
            live.update_room(&caller, mine.room.id, &fields).await
        };
        self.run_write("save live room", Box::pin(flow)).await
    }

    async fn update_room(&self, request: Request<pb::UpdateRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let fields = request::room_fields(request.fields.unwrap_or_default(), &mut wrong);
        wrong.finish()?;
        let live = self.clone();
        let flow = async move { live.update_room(&caller, room, &fields).await };
        self.run_write("update live room", Box::pin(flow)).await
    }

    async fn get_room(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let (caller, room) = parse(request)?;
        let found = rooms::find_readable(&self.rooms.pool, room, RoomReader::from(&caller))
            .await
            .map_err(Error::from)?;
        let found = found.ok_or(Error::from(LiveError::NoRoom))?;
        Ok(Response::new(convert::live(found)))
    }

    async fn get_room_state(
        &self,
        request: Request<pb::LiveRoomRequest>,
    ) -> RpcResult<pb::GetRoomStateResponse> {
        let (caller, room) = parse(request)?;
        let state = rooms::find_state(&self.rooms.pool, room, RoomReader::from(&caller))
            .await
            .map_err(Error::from)?;
        let state = state.ok_or(Error::from(LiveError::NoRoom))?;
        Ok(Response::new(convert::state(state)))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> RpcResult<pb::ListSessionsResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let (limit, after) = wrong.check(page_request(request.limit, request.cursor.as_deref()));
        wrong.finish()?;
        let rows = rooms::list_sessions(
            &self.rooms.pool,
            room,
            RoomReader::from(&caller),
            after,
            fetch_limit(limit),
        )
        .await;
        let rows = rows.map_err(Error::from)?.ok_or(Error::from(LiveError::NoRoom))?;
        let (rows, next_cursor) =
            page(rows, limit, |row| Cursor { at: row.started_at.unwrap_or(row.starts_at), id: row.id.0 });
        let sessions = rows.into_iter().map(convert::session).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_cursor }))
    }

    async fn go_live(&self, request: Request<pb::GoLiveRequest>) -> RpcResult<pb::GoLiveResponse> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let new = request::new_session(request, &mut wrong);
        if let Err(refusal) = wrong.finish() {
            return Err(self.with_times(refusal, &new).await.into());
        }
        let live = self.clone();
        let flow = async move { live.go_live(&caller, room, &new).await };
        let (live, created) = self.rooms.run("go live", Box::pin(flow)).await?;
        Ok(Response::new(pb::GoLiveResponse {
            room: Some(convert::room(live.room)),
            session: live.session.map(convert::session),
            created,
        }))
    }

    async fn start_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.apply_verb(request, Verb::Start).await
    }

    async fn open_lobby(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.apply_verb(request, Verb::OpenLobby).await
    }

    async fn end_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.apply_verb(request, Verb::End).await
    }

    async fn cancel_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.apply_verb(request, Verb::Cancel).await
    }

    async fn reset_room(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.apply_verb(request, Verb::Reset).await
    }

    async fn set_host_present(
        &self,
        request: Request<pb::SetHostPresentRequest>,
    ) -> RpcResult<pb::LiveRoomResponse> {
        let pb::SetHostPresentRequest { caller, room_id, present } = request.into_inner();
        let request = Request::new(pb::LiveRoomRequest { caller, room_id });
        self.apply_verb(request, Verb::HostPresent(present)).await
    }
}

impl LiveRooms {
    /// Adds the refusal of the times to a refusal of other fields, so that a refusal names every wrong field. The times
    /// are checked by the database's clock.
    async fn with_times(&self, refusal: Refusal, new: &NewSession) -> Refusal {
        let checked = events::find_now(&self.rooms.pool).await.map(|now| check_times(new, now));
        match checked {
            Ok(Err(times)) => refusal.and(times),
            Ok(Ok(())) | Err(_) => refusal,
        }
    }

    async fn apply_verb(
        &self,
        request: Request<pb::LiveRoomRequest>,
        verb: Verb,
    ) -> RpcResult<pb::LiveRoomResponse> {
        let (caller, room) = parse(request)?;
        let live = self.clone();
        let flow = async move { live.change_session(&caller, room, verb).await };
        self.run_write("live session", Box::pin(flow)).await
    }

    async fn run_write(
        &self,
        name: &'static str,
        flow: Pin<Box<impl Future<Output = Result<Live, Error>> + Send + 'static>>,
    ) -> RpcResult<pb::LiveRoomResponse> {
        Ok(Response::new(convert::live(self.rooms.run(name, flow).await?)))
    }
}

fn parse(request: Request<pb::LiveRoomRequest>) -> Result<(Caller, LiveRoomId), Refusal> {
    let request = request.into_inner();
    Ok((caller(request.caller)?, uuid("room_id", &request.room_id)?))
}

/// The caller, who must be a user: our own services have no room.
fn require_user(sent: Option<Caller>) -> Result<Caller, Refusal> {
    let caller = caller(sent)?;
    if caller.user_id.is_empty() {
        return Err(Refusal::new(Reason::Unauthenticated, "The request names no person."));
    }
    Ok(caller)
}
