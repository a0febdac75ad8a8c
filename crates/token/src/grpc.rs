//! The gRPC interface of token: one call for each kind of room. Each call reads the row and takes a step until there is
//! a token, then answers with the last row.

use chassis::{
    grpc::{caller, timestamp, uuid},
    status::Refusal,
};
use domain::{OwnerKind, Role, field::non_empty};
use proto::{
    token::v1::{
        ExplainRequest, ExplainResponse, IssueForLiveRoomRequest, IssueForLiveRoomResponse,
        IssueForNestRequest, IssueForNestResponse, IssueForSessionRequest, IssueForSessionResponse, Person,
        token_service_server::TokenService,
    },
    types::v1::Caller,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    decision::{Refused, Snapshot},
    error::Error,
    issue::{Issued, Issuer, Steps},
    store::{Join, LiveJoin},
};

impl Issuer {
    async fn for_session(&self, request: IssueForSessionRequest) -> Result<IssueForSessionResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let session_id = uuid("session_id", &request.session_id).map_err(Error::Request)?;
        let mut steps = Steps::new(request.ensure_now);
        loop {
            let row = self.session_join(session_id, &caller).await?;
            if let Some(issued) = self.step(&caller, &Snapshot::of_session(&row), &mut steps).await? {
                return Ok(session_response(row, issued));
            }
        }
    }

    async fn for_live_room(
        &self,
        request: IssueForLiveRoomRequest,
    ) -> Result<IssueForLiveRoomResponse, Error> {
        let caller = caller(request.caller).map_err(Error::Request)?;
        let room_id = uuid("room_id", &request.room_id).map_err(Error::Request)?;
        let mut steps = Steps::new(request.ensure_now);
        loop {
            let row = self.live_join(room_id, &caller).await?;
            if let Some(issued) = self.step(&caller, &Snapshot::of_live_room(&row), &mut steps).await? {
                return Ok(live_room_response(&row, issued));
            }
        }
    }

    async fn for_nest(&self, request: IssueForNestRequest) -> Result<IssueForNestResponse, Error> {
        let caller = request.caller.map(|given| caller(Some(given))).transpose().map_err(Error::Request)?;
        let nest_id = uuid("nest_id", &request.nest_id).map_err(Error::Request)?;
        let identity = caller.clone().unwrap_or_else(guest);
        let mut steps = Steps::new(false);
        loop {
            let row = self.nest_join(nest_id, caller.as_ref()).await?;
            let snapshot = self.nest_snapshot(&row, caller.as_ref());
            if let Some(issued) = self.step(&identity, &snapshot, &mut steps).await? {
                return Ok(nest_response(issued));
            }
        }
    }
}

/// Returns an anonymous guest of a nest with a new identity.
fn guest() -> Caller {
    Caller { user_id: format!("guest-{}", Uuid::new_v4()), ..Caller::default() }
}

fn session_response(row: Join, issued: Issued) -> IssueForSessionResponse {
    // The booked name is the guest's, so only the host sees it as that of the other participant.
    let booked = row.guest_name.filter(|_| row.role == Some(Role::Host));
    let other = Person {
        name: row.other_name.or(booked).unwrap_or_else(|| row.other_id.clone()),
        id: row.other_id,
        avatar_url: row.other_avatar.and_then(non_empty),
    };
    IssueForSessionResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        participant_name: issued.name,
        role: row.role.map(i32::from).unwrap_or_default(),
        can_record: issued.token_role.can_record,
        expires_at: Some(timestamp(issued.expires_at)),
        title: row.title,
        scheduled_at: Some(timestamp(row.scheduled_at)),
        opens_at: Some(timestamp(row.opens_at)),
        closes_at: Some(timestamp(row.closes_at)),
        other_participant: Some(other),
    }
}

fn live_room_response(row: &LiveJoin, issued: Issued) -> IssueForLiveRoomResponse {
    IssueForLiveRoomResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        role: row.role.map(i32::from).unwrap_or_default(),
        can_record: issued.token_role.can_record,
        expires_at: Some(timestamp(issued.expires_at)),
    }
}

fn nest_response(issued: Issued) -> IssueForNestResponse {
    IssueForNestResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        expires_at: Some(timestamp(issued.expires_at)),
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
