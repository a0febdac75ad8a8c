//! The token service.

use chassis::status::{Reason, Refusal};
use domain::{Role, SeatRole};
use proto::{
    token::v1::{self as token, token_service_server::TokenService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use super::{Answer, Fake, LIVE_SESSION, SESSION, at};

#[tonic::async_trait]
impl TokenService for Fake {
    async fn issue_for_session(
        &self,
        request: Request<token::IssueForSessionRequest>,
    ) -> Answer<token::IssueForSessionResponse> {
        let caller = |request: &token::IssueForSessionRequest| request.caller.clone();
        let (_, caller) = self.take("issue_for_session", request, caller).await?;
        let is_host = caller.user_id == "host-1";
        Ok(Response::new(token::IssueForSessionResponse {
            token: "livekit.token".into(),
            ws_url: "ws://livekit.test".into(),
            room_name: format!("session-{SESSION}"),
            identity: caller.user_id,
            participant_name: caller.name,
            role: if is_host { Role::Host } else { Role::Guest }.into(),
            can_record: is_host,
            expires_at: Some(at(3600)),
            title: "Algebra".into(),
            scheduled_at: Some(at(0)),
            opens_at: Some(at(-900)),
            closes_at: Some(at(7200)),
            other_participant: Some(token::Person {
                id: "guest-1".into(),
                name: "Gus".into(),
                avatar_url: None,
            }),
        }))
    }

    async fn issue_for_live_room(
        &self,
        request: Request<token::IssueForLiveRoomRequest>,
    ) -> Answer<token::IssueForLiveRoomResponse> {
        let caller = |request: &token::IssueForLiveRoomRequest| request.caller.clone();
        let (_, caller) = self.take("issue_for_live_room", request, caller).await?;
        let is_host = caller.user_id == "host-1";
        Ok(Response::new(token::IssueForLiveRoomResponse {
            token: "livekit.token".into(),
            ws_url: "ws://livekit.test".into(),
            room_name: format!("live-{LIVE_SESSION}"),
            identity: caller.user_id,
            role: if is_host { SeatRole::Host } else { SeatRole::Guest }.into(),
            can_record: is_host,
            expires_at: Some(at(3600)),
        }))
    }

    async fn issue_for_nest(
        &self,
        request: Request<token::IssueForNestRequest>,
    ) -> Answer<token::IssueForNestResponse> {
        let is_guest = request.get_ref().caller.is_none();
        let guest = || Caller { user_id: "guest-0".into(), ..Caller::default() };
        let caller = |request: &token::IssueForNestRequest| request.caller.clone().or_else(|| Some(guest()));
        let (request, caller) = self.take("issue_for_nest", request, caller).await?;
        if !is_guest && !self.3.lock().contains(&caller.user_id) {
            return Err(Refusal::new(Reason::NotParticipant, "Join the nest first.").into());
        }
        Ok(Response::new(token::IssueForNestResponse {
            token: "livekit.token".into(),
            ws_url: "wss://livekit.test:7443/".into(),
            room_name: format!("nest-{}", request.nest_id),
            identity: caller.user_id,
            expires_at: Some(at(600)),
        }))
    }

    async fn explain(&self, request: Request<token::ExplainRequest>) -> Answer<token::ExplainResponse> {
        let anonymous = || Caller { user_id: "anonymous".into(), ..Caller::default() };
        let caller = |request: &token::ExplainRequest| request.caller.clone().or_else(|| Some(anonymous()));
        self.take("explain", request, caller).await?;
        Ok(Response::new(token::ExplainResponse { code: "ok".into(), ..token::ExplainResponse::default() }))
    }
}
