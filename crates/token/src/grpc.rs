//! The gRPC interface of token: one call for each kind of room.

use chassis::{
    grpc::{caller, uuid},
    status::Refusal,
};
use domain::{LiveRoomId, NestId, OwnerKind, SessionId};
use proto::{
    token::v1::{
        ExplainRequest, ExplainResponse, IssueForLiveRoomRequest, IssueForLiveRoomResponse,
        IssueForNestRequest, IssueForNestResponse, IssueForSessionRequest, IssueForSessionResponse,
        token_service_server::TokenService,
    },
    types::v1::Caller,
};
use tonic::{Request, Response, Status};

use crate::{
    decision::Refused,
    error::Error,
    issue::Issuer,
    live,
    nest::{self, NestJoinRow},
    session,
    store::{self, Join, LiveJoin},
};

impl Issuer {
    async fn for_session(&self, request: IssueForSessionRequest) -> Result<IssueForSessionResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let session_id = uuid("session_id", &request.session_id).map_err(Error::Request)?;
        let find = async || self.session_join(session_id, &caller).await;
        let (row, issued) = self.issue(&caller, request.ensure_now, find).await?;
        Ok(session::response(&row, issued))
    }

    async fn for_live_room(
        &self,
        request: IssueForLiveRoomRequest,
    ) -> Result<IssueForLiveRoomResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let room_id = uuid("room_id", &request.room_id).map_err(Error::Request)?;
        let find = async || self.live_join(room_id, &caller).await;
        let (row, issued) = self.issue(&caller, request.ensure_now, find).await?;
        Ok(live::response(&row, issued))
    }

    async fn for_nest(&self, request: IssueForNestRequest) -> Result<IssueForNestResponse, Error> {
        let caller = request.caller.map(|given| caller(Some(given))).transpose().map_err(Error::Request)?;
        let nest_id = uuid("nest_id", &request.nest_id).map_err(Error::Request)?;
        let find = async || self.nest_join_row(nest_id, caller.as_ref()).await;
        let identity = caller.clone().unwrap_or_else(nest::guest);
        let (_, issued) = self.issue(&identity, false, find).await?;
        Ok(nest::response(issued))
    }

    pub(crate) async fn session_join(&self, id: SessionId, caller: &Caller) -> Result<Join, Error> {
        store::find_join(&self.pool, id, &caller.user_id).await?.ok_or(Error::SessionNotFound)
    }

    pub(crate) async fn live_join(&self, id: LiveRoomId, caller: &Caller) -> Result<LiveJoin, Error> {
        store::find_live_join(&self.pool, id, caller).await?.ok_or(Refused::NoLiveRoom.into())
    }

    /// Reads the row of a participant, or of a guest if `caller` is empty.
    pub(crate) async fn nest_join_row(
        &self,
        id: NestId,
        caller: Option<&Caller>,
    ) -> Result<NestJoinRow, Error> {
        let pubkey = caller.map(|caller| caller.user_id.as_str());
        let join = store::find_nest_join(&self.pool, id, pubkey).await?.ok_or(Refused::NoNest)?;
        Ok(NestJoinRow { join, is_guest: caller.is_none(), room_admin_grant: self.room_admin_grant })
    }
}

#[tonic::async_trait]
impl TokenService for Issuer {
    async fn issue_for_session(
        &self,
        request: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        let request = request.into_inner();
        let call = TokenCall::new(OwnerKind::Session, &request.session_id, request.caller.as_ref());
        call.answer(self.for_session(request).await)
    }

    async fn issue_for_live_room(
        &self,
        request: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        let request = request.into_inner();
        let call = TokenCall::new(OwnerKind::LiveSession, &request.room_id, request.caller.as_ref());
        call.answer(self.for_live_room(request).await)
    }

    async fn issue_for_nest(
        &self,
        request: Request<IssueForNestRequest>,
    ) -> Result<Response<IssueForNestResponse>, Status> {
        let request = request.into_inner();
        let call = TokenCall::new(OwnerKind::Nest, &request.nest_id, request.caller.as_ref());
        call.answer(self.for_nest(request).await)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Ok(Response::new(self.explain(request.into_inner()).await.map_err(Refusal::from)?))
    }
}

/// The room and the caller of a token request, for its metrics and logs.
struct TokenCall {
    owner: OwnerKind,
    id: String,
    user: String,
}

impl TokenCall {
    fn new(owner: OwnerKind, id: &str, caller: Option<&Caller>) -> Self {
        let user = caller.map(|caller| caller.user_id.clone()).unwrap_or_default();
        Self { owner, id: id.to_owned(), user }
    }

    /// Counts the result, and logs a refusal. Refusals of room-lifecycle are not logged: room-lifecycle has logged
    /// them.
    fn answer<T>(self, issued: Result<T, Error>) -> Result<Response<T>, Status> {
        if let Err(Error::Refused(not_yet @ Refused::NotInNest)) = issued {
            return Err(Refusal::from(not_yet).into()); // not counted: the gateway adds the participant and asks again
        }
        let issued = issued.map_err(|error| match error {
            Error::Room(refusal) => refusal,
            error => Refusal::from(error).logged(self.owner, &self.id, &self.user),
        });
        let result = issued.as_ref().map_or_else(|refusal| refusal.reason.code(), |_| "issued");
        metrics::counter!("greenroom_tokens_total", "owner" => self.owner.as_str(), "result" => result)
            .increment(1);
        Ok(Response::new(issued?))
    }
}
