//! What token says over gRPC: one call for each kind of room.

use chassis::{
    grpc::{caller, uuid},
    status::Refusal,
};
use proto::token::v1::{
    IssueForLiveRoomRequest, IssueForLiveRoomResponse, IssueForSessionRequest, IssueForSessionResponse,
    token_service_server::TokenService,
};
use tonic::{Request, Response, Status};

use crate::{decision::Refused, error::Error, issue::Issuer, live, session, store};

impl Issuer {
    async fn for_session(&self, request: IssueForSessionRequest) -> Result<IssueForSessionResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let session_id = uuid("session_id", &request.session_id).map_err(Error::Request)?;
        let find = async || {
            let row = store::find_join(&self.pool, session_id, &caller.user_id).await?;
            row.ok_or(Error::SessionNotFound)
        };
        let (row, issued) = self.issue(&caller, request.ensure_now, find).await?;
        Ok(session::response(&row, issued))
    }

    async fn for_live_room(
        &self,
        request: IssueForLiveRoomRequest,
    ) -> Result<IssueForLiveRoomResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let room_id = uuid("room_id", &request.room_id).map_err(Error::Request)?;
        let find = async || {
            let row = store::find_live_join(&self.pool, room_id, &caller).await?;
            row.ok_or(Refused::NoLiveRoom.into())
        };
        let (_, issued) = self.issue(&caller, request.ensure_now, find).await?;
        Ok(live::response(issued))
    }
}

#[tonic::async_trait]
impl TokenService for Issuer {
    async fn issue_for_session(
        &self,
        request: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        answer("session", self.for_session(request.into_inner()).await)
    }

    async fn issue_for_live_room(
        &self,
        request: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        answer("live", self.for_live_room(request.into_inner()).await)
    }
}

/// Counts who got in and who did not.
fn answer<T>(owner: &'static str, issued: Result<T, Error>) -> Result<Response<T>, Status> {
    let issued = issued.map_err(Refusal::from);
    let result = issued.as_ref().map_or_else(|refusal| refusal.reason.code(), |_| "issued");
    metrics::counter!("greenroom_tokens_total", "owner" => owner, "result" => result).increment(1);
    Ok(Response::new(issued?))
}
