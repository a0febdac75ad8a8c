//! Calls that only a live room or participant can answer. Most do not ask the store first: where nobody is,
//! they end with `no response from servers` after a while, not with `not_found`.

use livekit_protocol as proto;

use super::no_room;
use crate::{
    LiveKitDev, limits,
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

pub(super) fn update_metadata(
    server: &LiveKitDev,
    call: &Call,
    request: proto::UpdateRoomMetadataRequest,
) -> Result<proto::Room, TwirpError> {
    limits::check_metadata(&request.metadata)?;
    call.require_admin(&request.room)?;
    server.alter(|world| {
        let room = world.rooms.get_mut(&request.room).filter(|room| room.is_listed()).ok_or_else(no_room)?;
        if !room.is_live() {
            return Err(TwirpError::no_response());
        }
        room.info.metadata = request.metadata;
        room.store();
        Ok(room.snapshot())
    })
}

/// An unknown track is a success without a track. The participant's node checks whether unmuting is allowed, before it
/// looks for the track; for a stale participant there is no such node.
pub(super) fn mute(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::MuteRoomTrackRequest,
) -> Result<proto::MuteRoomTrackResponse, TwirpError> {
    call.require_admin(&request.room)?;
    server.alter(|world| {
        let may_unmute = world.switches.remote_unmute;
        let room = world.rooms.get_mut(&request.room).ok_or_else(TwirpError::no_response)?;
        let occupant = room.connected_mut(&request.identity).ok_or_else(TwirpError::no_response)?;
        if !request.muted && !may_unmute {
            return Err(TwirpError::internal_rpc(Code::FailedPrecondition, "remote unmute not enabled"));
        }
        Ok(proto::MuteRoomTrackResponse { track: occupant.set_muted(&request.track_sid, request.muted) })
    })
}

pub(super) fn update_subscriptions(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::UpdateSubscriptionsRequest,
) -> Result<proto::UpdateSubscriptionsResponse, TwirpError> {
    call.require_admin(&request.room)?;
    if server.look(|world| world.is_connected(&request.room, &request.identity)) {
        Ok(proto::UpdateSubscriptionsResponse {})
    } else {
        Err(TwirpError::no_response())
    }
}

/// A nonce that the room has seen makes the call a success that does nothing.
pub(super) fn send_data(
    server: &LiveKitDev,
    call: &Call,
    request: proto::SendDataRequest,
) -> Result<proto::SendDataResponse, TwirpError> {
    call.require_admin(&request.room)?;
    if !matches!(request.nonce.len(), 0 | 16) {
        let msg = format!("nonce should be 16-bytes or not present, got: {} bytes", request.nonce.len());
        return Err(TwirpError::new(Code::InvalidArgument, msg));
    }
    server.alter(|world| {
        let room = world.rooms.get_mut(&request.room).filter(|room| room.is_live());
        let room = room.ok_or_else(TwirpError::no_response)?;
        let seen = !request.nonce.is_empty() && room.data.iter().any(|sent| sent.nonce == request.nonce);
        if !seen {
            room.data.push(request);
        }
        Ok(proto::SendDataResponse {})
    })
}

/// LiveKit Cloud only.
pub(super) fn forward(call: &Call) -> Answered {
    let request: proto::ForwardParticipantRequest = call.decode()?;
    not_implemented(call, &request.room, &request.destination_room)
}

/// LiveKit Cloud only.
pub(super) fn move_to(call: &Call) -> Answered {
    let request: proto::MoveParticipantRequest = call.decode()?;
    not_implemented(call, &request.room, &request.destination_room)
}

fn not_implemented(call: &Call, room: &str, destination: &str) -> Answered {
    call.require_admin(room)?;
    call.require(|grant| grant.destination_room == destination)?;
    if room == destination {
        return Err(TwirpError::argument("destination room cannot be the same as source room", ""));
    }
    Err(TwirpError::internal_rpc(Code::Unknown, "not implemented"))
}

/// The answer would come from the client, and there is no signalling to reach one.
pub(super) fn perform_rpc(server: &LiveKitDev, call: &Call) -> Answered {
    let request: proto::PerformRpcRequest = call.decode()?;
    call.require_admin(&request.room)?;
    let identity = &request.destination_identity;
    if identity.is_empty() {
        return Err(TwirpError::internal_rpc(Code::InvalidArgument, "destination identity is required"));
    }
    if !server.look(|world| world.is_connected(&request.room, identity)) {
        return Err(TwirpError::no_response());
    }
    Err(TwirpError::new(Code::Unimplemented, "livekit-dev has no signalling yet"))
}
