//! The gRPC service of nests. Writes run detached: a client that disconnects does not cancel them.

use chassis::status::Fields;
use proto::room::v1::{self as pb, nest_service_server::NestService};
use tonic::{Request, Response};

use super::{Nests, permissions::PermissionChange, request};
use crate::{
    error::{Error, RpcResult},
    replay,
};

#[tonic::async_trait]
impl NestService for Nests {
    async fn create_nest(&self, request: Request<pb::CreateNestRequest>) -> RpcResult<pb::NestResponse> {
        let request = request.into_inner();
        let host = request::signer(request.caller)?;
        let mut wrong = Fields::default();
        let proof = wrong.check(replay::proof(request.proof));
        let relays = wrong.check(request::relays(request.relays));
        wrong.finish()?;
        let (nests, hls_stream) = (self.clone(), request.hls_stream);
        let flow = async move { nests.create_nest(&host, &proof, &relays, hls_stream).await };
        let nest = self.rooms.run("create nest", flow).await?;
        Ok(Response::new(pb::NestResponse { nest: Some(self.nest_message(nest)?) }))
    }

    async fn get_nest(&self, request: Request<pb::GetNestRequest>) -> RpcResult<pb::NestResponse> {
        let nest = request::nest_id(&request.into_inner().nest_id).map_err(Error::from)?;
        let nest = self.nest(nest).await?;
        Ok(Response::new(pb::NestResponse { nest: Some(self.nest_message(nest)?) }))
    }

    async fn join_nest(&self, request: Request<pb::JoinNestRequest>) -> RpcResult<pb::JoinNestResponse> {
        let request = request.into_inner();
        let pubkey = request::signer(request.caller)?;
        let nest = request::nest_id(&request.nest_id).map_err(Error::from)?;
        self.join_nest(&pubkey, nest).await?;
        Ok(Response::new(pb::JoinNestResponse {}))
    }

    async fn set_permissions(
        &self,
        request: Request<pb::SetPermissionsRequest>,
    ) -> RpcResult<pb::SetPermissionsResponse> {
        let request = request.into_inner();
        let caller = request::signer(request.caller)?;
        let mut wrong = Fields::default();
        let proof = wrong.check(replay::proof(request.proof));
        let participant = wrong.check(request::participant(&request.participant));
        wrong.finish()?;
        let nest = request::nest_id(&request.nest_id).map_err(Error::from)?;
        let change = PermissionChange {
            participant,
            can_publish: request.can_publish,
            mute_microphone: request.mute_microphone,
            is_admin: request.is_admin,
        };
        let nests = self.clone();
        let flow = async move { nests.set_permissions(&caller, &proof, nest, &change).await };
        let changed = self.rooms.run("nest permissions", flow).await?;
        Ok(Response::new(pb::SetPermissionsResponse { changed }))
    }

    async fn end_nest(&self, request: Request<pb::EndNestRequest>) -> RpcResult<pb::EndNestResponse> {
        let request = request.into_inner();
        let host = request::signer(request.caller)?;
        let proof = replay::proof(request.proof)?;
        let nest = request::nest_id(&request.nest_id).map_err(Error::from)?;
        let nests = self.clone();
        self.rooms.run("end nest", async move { nests.end_nest(&host, &proof, nest).await }).await?;
        Ok(Response::new(pb::EndNestResponse {}))
    }
}
