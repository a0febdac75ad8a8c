//! What live rooms do, request by request. Whatever writes goes on without its caller.

use std::{future::Future, pin::Pin};

use chassis::{
    field::Fields,
    grpc::{caller, uuid},
    page::{self, Cursor, one_more, page},
    status::{Reason, Refusal},
};
use domain::LiveRoomId;
use proto::{
    room::v1::{self as pb, live_room_service_server::LiveRoomService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use super::{
    LiveError, answer,
    decide::Verb,
    request::{NewSession, RoomFields},
};
use crate::{
    Rooms, RpcResult,
    error::Error,
    store::{
        events,
        live::{Live, RoomReader, rooms},
    },
};

#[tonic::async_trait]
impl LiveRoomService for Rooms {
    async fn get_my_room(&self, request: Request<pb::GetMyRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let caller = person(request.into_inner().caller)?;
        let rooms = self.clone();
        self.written("my live room", Box::pin(async move { rooms.my_room(&caller).await })).await
    }

    async fn save_my_room(&self, request: Request<pb::SaveMyRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let request = request.into_inner();
        let caller = person(request.caller)?;
        let mut wrong = Fields::default();
        let fields = RoomFields::check(request.fields.unwrap_or_default(), &mut wrong);
        wrong.finish()?;
        let rooms = self.clone();
        let flow = async move {
            let mine = rooms.my_room(&caller).await?;
            rooms.update_room(&caller, mine.room.id, &fields).await
        };
        self.written("save live room", Box::pin(flow)).await
    }

    async fn update_room(&self, request: Request<pb::UpdateRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let fields = RoomFields::check(request.fields.unwrap_or_default(), &mut wrong);
        wrong.finish()?;
        let rooms = self.clone();
        let flow = async move { rooms.update_room(&caller, room, &fields).await };
        self.written("update live room", Box::pin(flow)).await
    }

    async fn get_room(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        let (caller, room) = about(request)?;
        let found =
            rooms::find_readable(&self.pool, room, RoomReader::from(&caller)).await.map_err(Error::from)?;
        let found = found.ok_or(Error::Live(LiveError::NoRoom))?;
        Ok(Response::new(answer::live(found)))
    }

    async fn get_room_state(
        &self,
        request: Request<pb::LiveRoomRequest>,
    ) -> RpcResult<pb::GetRoomStateResponse> {
        let (caller, room) = about(request)?;
        let state =
            rooms::find_state(&self.pool, room, RoomReader::from(&caller)).await.map_err(Error::from)?;
        let state = state.ok_or(Error::Live(LiveError::NoRoom))?;
        Ok(Response::new(answer::state(state, &caller.user_id)))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> RpcResult<pb::ListSessionsResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let (limit, after) = wrong.check(page::asked(request.limit, request.cursor.as_deref()));
        wrong.finish()?;
        let rows =
            rooms::list_sessions(&self.pool, room, RoomReader::from(&caller), after, one_more(limit)).await;
        let rows = rows.map_err(Error::from)?.ok_or(Error::Live(LiveError::NoRoom))?;
        let (rows, next_cursor) =
            page(rows, limit, |row| Cursor { at: row.started_at.unwrap_or(row.starts_at), id: row.id.0 });
        let sessions = rows.into_iter().map(answer::session).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_cursor }))
    }

    async fn go_live(&self, request: Request<pb::GoLiveRequest>) -> RpcResult<pb::GoLiveResponse> {
        let mut request = request.into_inner();
        let caller = caller(request.caller.take())?;
        let mut wrong = Fields::default();
        let room = wrong.check(uuid("room_id", &request.room_id));
        let new = NewSession::check(request, &mut wrong);
        if let Err(refusal) = wrong.finish() {
            return Err(self.with_times(refusal, &new).await.into());
        }
        let rooms = self.clone();
        let flow = async move { rooms.go_live(&caller, room, &new).await };
        let (live, created) = self.run("go live", Box::pin(flow)).await?;
        Ok(Response::new(pb::GoLiveResponse {
            room: Some(answer::room(live.room)),
            session: live.session.map(answer::session),
            created,
        }))
    }

    async fn start_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.changed(request, Verb::Start).await
    }

    async fn open_lobby(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.changed(request, Verb::OpenLobby).await
    }

    async fn end_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.changed(request, Verb::End).await
    }

    async fn cancel_session(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.changed(request, Verb::Cancel).await
    }

    async fn reset_room(&self, request: Request<pb::LiveRoomRequest>) -> RpcResult<pb::LiveRoomResponse> {
        self.changed(request, Verb::Reset).await
    }

    async fn set_host_present(
        &self,
        request: Request<pb::SetHostPresentRequest>,
    ) -> RpcResult<pb::LiveRoomResponse> {
        let pb::SetHostPresentRequest { caller, room_id, present } = request.into_inner();
        let request = Request::new(pb::LiveRoomRequest { caller, room_id });
        self.changed(request, Verb::HostPresent(present)).await
    }
}

impl Rooms {
    /// A refusal of other fields, and of the times that the database's clock says are wrong: a request is refused for
    /// everything that is wrong with it.
    async fn with_times(&self, refusal: Refusal, new: &NewSession) -> Refusal {
        let checked = events::find_now(&self.pool).await.map(|now| new.check_times(now));
        match checked {
            Ok(Err(times)) => refusal.and(times),
            Ok(Ok(())) | Err(_) => refusal,
        }
    }

    async fn changed(
        &self,
        request: Request<pb::LiveRoomRequest>,
        verb: Verb,
    ) -> RpcResult<pb::LiveRoomResponse> {
        let (caller, room) = about(request)?;
        let rooms = self.clone();
        let flow = async move { rooms.change_session(&caller, room, verb).await };
        self.written("live session", Box::pin(flow)).await
    }

    async fn written(
        &self,
        name: &'static str,
        flow: Pin<Box<impl Future<Output = Result<Live, Error>> + Send + 'static>>,
    ) -> RpcResult<pb::LiveRoomResponse> {
        Ok(Response::new(answer::live(self.run(name, flow).await?)))
    }
}

fn about(request: Request<pb::LiveRoomRequest>) -> Result<(Caller, LiveRoomId), Refusal> {
    let request = request.into_inner();
    Ok((caller(request.caller)?, uuid("room_id", &request.room_id)?))
}

/// Who asks, if he is a person: our own services have no room.
fn person(who: Option<Caller>) -> Result<Caller, Refusal> {
    let caller = caller(who)?;
    if caller.user_id.is_empty() {
        return Err(Refusal::new(Reason::Unauthenticated, "The request names no person."));
    }
    Ok(caller)
}
