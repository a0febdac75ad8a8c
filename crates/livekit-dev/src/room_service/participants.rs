//! Participants as the store lists them. Removing and updating first ask the store and then the live session,
//! so they fail in two different ways.

use livekit_protocol as proto;
use proto::DisconnectReason;

use crate::{
    LiveKitDev,
    clock::ClockHandle,
    limits,
    twirp::{
        codec::Call,
        error::{Code, TwirpError},
    },
};

/// A room that does not exist has no participants.
pub(super) fn list(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::ListParticipantsRequest,
) -> Result<proto::ListParticipantsResponse, TwirpError> {
    call.require_admin(&request.room)?;
    let mut participants = server.look(|world| world.list_participants(&request.room));
    participants.retain(|participant| call.view.shows_participant(&participant.identity));
    Ok(proto::ListParticipantsResponse { participants })
}

pub(super) fn get(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::RoomParticipantIdentity,
) -> Result<proto::ParticipantInfo, TwirpError> {
    call.require_admin(&request.room)?;
    find(server, call, &request.room, &request.identity)
}

/// Their token stays good: they can join again at once (`revoke_token_ts` is not looked at).
pub(super) fn remove(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::RoomParticipantIdentity,
) -> Result<proto::RemoveParticipantResponse, TwirpError> {
    call.require_admin(&request.room)?;
    find(server, call, &request.room, &request.identity)?;
    let now_s = server.clock().now_s(ClockHandle::Rooms);
    let reason = DisconnectReason::ParticipantRemoved;
    let removed = server.change(|world, _| {
        let connected = world.is_connected(&request.room, &request.identity);
        // Read in the same change, so that a leave in between cannot be taken for ours.
        (connected, world.leave(&request.room, &request.identity, reason, now_s))
    });
    if removed { Ok(proto::RemoveParticipantResponse {}) } else { Err(TwirpError::no_response()) }
}

/// Limits come before permissions.
pub(super) fn update(
    server: &LiveKitDev,
    call: &Call,
    request: proto::UpdateParticipantRequest,
) -> Result<proto::ParticipantInfo, TwirpError> {
    limits::check_name(&request.name)?;
    limits::check_metadata(&request.metadata)?;
    limits::check_attributes(&request.attributes)?;
    call.require_admin(&request.room)?;
    change(server, call, request)
}

/// With all rights in the room.
pub(crate) fn change(
    server: &LiveKitDev,
    call: &Call,
    request: proto::UpdateParticipantRequest,
) -> Result<proto::ParticipantInfo, TwirpError> {
    find(server, call, &request.room, &request.identity)?;
    let updated = server.change(|world, _| match world.update_participant(request) {
        Some((participant, events)) => (Some(participant), events),
        None => (None, Vec::new()),
    });
    updated.ok_or_else(TwirpError::no_response)
}

fn find(
    server: &LiveKitDev,
    call: &Call,
    room: &str,
    identity: &str,
) -> Result<proto::ParticipantInfo, TwirpError> {
    let found = server.look(|world| world.find_participant(room, identity).cloned());
    found
        .filter(|participant| call.view.shows_participant(&participant.identity))
        .ok_or_else(|| TwirpError::internal_rpc(Code::NotFound, "participant does not exist"))
}
