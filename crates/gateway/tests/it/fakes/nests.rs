//! One nest, whose host is its creator. The same proof again has the same answer; the token service knows the
//! participants.

use proto::{
    room::v1::{self as room, nest_service_server::NestService},
    types::v1::Caller,
};
use tonic::{Request, Response};

use super::{Answer, Fake};

pub const NEST: &str = "0190c9d2-5c1e-4a11-9c5e-2f6d3b1a7e05";

fn the_nest(host: String) -> room::Nest {
    room::Nest {
        id: NEST.into(),
        speakers: vec![host.clone()],
        admins: vec![host.clone()],
        host,
        relays: vec!["wss://relay.test".into()],
        hls_stream: false,
        link: "naddr1test".into(),
        recording: false,
        streamed: false,
    }
}

impl Fake {
    /// Records a proof. Returns whether it is new.
    pub(super) fn is_new(&self, proof: Option<room::Proof>) -> bool {
        let proof = proof.expect("a proof");
        assert_eq!((proof.event_id.len(), proof.body_hash.len()), (32, 32));
        self.2.lock().insert((proof.event_id, proof.body_hash))
    }

    pub(super) fn is_known(&self, proof: &room::Proof) -> bool {
        self.2.lock().contains(&(proof.event_id.clone(), proof.body_hash.clone()))
    }
}

#[tonic::async_trait]
impl NestService for Fake {
    async fn create_nest(&self, request: Request<room::CreateNestRequest>) -> Answer<room::NestResponse> {
        let (request, caller) = self.take("create_nest", request, |request| request.caller.clone()).await?;
        self.is_new(request.proof);
        self.3.lock().insert(caller.user_id.clone());
        let nest = room::Nest { streamed: request.hls_stream, ..the_nest(caller.user_id) };
        Ok(Response::new(room::NestResponse { nest: Some(nest) }))
    }

    async fn get_nest(&self, request: Request<room::GetNestRequest>) -> Answer<room::NestResponse> {
        self.take("get_nest", request, |_| Some(Caller::default())).await?;
        Ok(Response::new(room::NestResponse { nest: Some(the_nest("aa".repeat(32))) }))
    }

    async fn join_nest(&self, request: Request<room::JoinNestRequest>) -> Answer<room::JoinNestResponse> {
        let (_, caller) = self.take("join_nest", request, |request| request.caller.clone()).await?;
        self.3.lock().insert(caller.user_id);
        Ok(Response::new(room::JoinNestResponse {}))
    }

    /// Nothing changes if `can_publish` is true.
    async fn set_permissions(
        &self,
        request: Request<room::SetPermissionsRequest>,
    ) -> Answer<room::SetPermissionsResponse> {
        let (request, _) = self.take("set_permissions", request, |request| request.caller.clone()).await?;
        self.is_new(request.proof);
        Ok(Response::new(room::SetPermissionsResponse { changed: request.can_publish != Some(true) }))
    }

    async fn end_nest(&self, request: Request<room::EndNestRequest>) -> Answer<room::EndNestResponse> {
        let (request, _) = self.take("end_nest", request, |request| request.caller.clone()).await?;
        self.is_new(request.proof);
        Ok(Response::new(room::EndNestResponse {}))
    }
}
