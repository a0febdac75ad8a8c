//! Egress as a server answers that has no worker. Recording itself is not played here.

use livekit_protocol as proto;

use crate::{
    LiveKitDev,
    config::Store,
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

/// `None` for a method that does not exist.
pub(crate) fn dispatch(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    Some(match method {
        "StartEgress" => start(server, call, |request: proto::StartEgressRequest| request.room_name),
        "StartRoomCompositeEgress" => {
            start(server, call, |request: proto::RoomCompositeEgressRequest| request.room_name)
        }
        "StartParticipantEgress" => {
            start(server, call, |request: proto::ParticipantEgressRequest| request.room_name)
        }
        "StartTrackCompositeEgress" => {
            start(server, call, |request: proto::TrackCompositeEgressRequest| request.room_name)
        }
        "StartTrackEgress" => start(server, call, |request: proto::TrackEgressRequest| request.room_name),
        "StartWebEgress" => start(server, call, |_: proto::WebEgressRequest| String::new()),
        "ListEgress" => call.answer(|request| list(server, call, &request)),
        "StopEgress" => find::<proto::StopEgressRequest>(server, call),
        "UpdateLayout" => find::<proto::UpdateLayoutRequest>(server, call),
        "UpdateStream" => find::<proto::UpdateStreamRequest>(server, call),
        _ => return None,
    })
}

/// A room that is named must exist; then nobody takes the job.
fn start<Req>(server: &LiveKitDev, call: &Call, room_name: impl FnOnce(Req) -> String) -> Answered
where
    Req: prost::Message + Default + serde::de::DeserializeOwned,
{
    let name = room_name(call.decode()?);
    call.require(|grant| grant.room_record)?;
    if !name.is_empty() && !server.knows_room(&name) {
        return Err(TwirpError::internal_rpc(Code::NotFound, "requested room does not exist"));
    }
    Err(TwirpError::no_response())
}

fn list(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::ListEgressRequest,
) -> Result<proto::ListEgressResponse, TwirpError> {
    call.require(|grant| grant.room_record)?;
    require_redis(server)?;
    if request.egress_id.is_empty() { Ok(proto::ListEgressResponse::default()) } else { Err(absent()) }
}

fn find<Req>(server: &LiveKitDev, call: &Call) -> Answered
where
    Req: prost::Message + Default + serde::de::DeserializeOwned,
{
    call.decode::<Req>()?;
    call.require(|grant| grant.room_record)?;
    require_redis(server)?;
    Err(absent())
}

fn require_redis(server: &LiveKitDev) -> Result<(), TwirpError> {
    match server.config().store {
        Store::RedisLike => Ok(()),
        Store::Memory => {
            Err(TwirpError::internal_rpc(Code::Internal, "egress not connected (redis required)"))
        }
    }
}

fn absent() -> TwirpError {
    TwirpError::internal_rpc(Code::NotFound, "egress does not exist")
}
