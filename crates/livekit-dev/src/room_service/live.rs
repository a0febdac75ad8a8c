//! Calls that only a live room or participant can answer. Most do not ask the store first: without participants,
//! they end with `no response from servers` after a while, not with `not_found`.

use livekit_protocol as proto;
use tokio::sync::oneshot;

use super::no_room;
use crate::{
    LiveKitDev, limits,
    media::{Command, RpcError},
    state::notice::Notice,
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
    server.change(|world, _| {
        let Some(room) = world.rooms.get_mut(&request.room).filter(|room| room.is_listed()) else {
            return (Err(no_room()), Vec::new());
        };
        // The store knows the room, and no node has it.
        if !room.is_live() {
            return (Err(TwirpError::no_response()), Vec::new());
        }
        room.info.metadata = request.metadata;
        room.store();
        // Metadata is visible at once, and so are the counts that go with it.
        room.count_now();
        (Ok(room.snapshot()), vec![room.changed(true)])
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
    server.change(|world, _| {
        if !world.is_connected(&request.room, &request.identity) {
            return (Err(TwirpError::no_response()), Vec::new());
        }
        if !request.muted && !world.switches.remote_unmute {
            let refused = TwirpError::internal_rpc(Code::FailedPrecondition, "remote unmute not enabled");
            return (Err(refused), Vec::new());
        }
        let muted = world.mute_by_server(&request.room, &request.identity, &request.track_sid, request.muted);
        let (track, effects) = muted.unzip();
        (Ok(proto::MuteRoomTrackResponse { track }), effects.unwrap_or_default())
    })
}

pub(super) fn update_subscriptions(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::UpdateSubscriptionsRequest,
) -> Result<proto::UpdateSubscriptionsResponse, TwirpError> {
    call.require_admin(&request.room)?;
    let nested = request.participant_tracks.iter().flat_map(|tracks| &tracks.track_sids);
    let tracks: Vec<String> = request.track_sids.iter().chain(nested).cloned().collect();
    server.change(|world, _| {
        let room = world.rooms.get(&request.room);
        let Some(occupant) = room.and_then(|room| room.connected(&request.identity)) else {
            return (Err(TwirpError::no_response()), Vec::new());
        };
        let participant = occupant.info.sid.clone();
        let notice = Notice::Subscriptions { participant, tracks, subscribe: request.subscribe };
        (Ok(proto::UpdateSubscriptionsResponse {}), vec![notice.into()])
    })
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
    server.change(|world, _| {
        let Some(room) = world.rooms.get_mut(&request.room).filter(|room| room.is_live()) else {
            return (Err(TwirpError::no_response()), Vec::new());
        };
        let seen = !request.nonce.is_empty() && room.data.iter().any(|sent| sent.nonce == request.nonce);
        if seen {
            return (Ok(proto::SendDataResponse {}), Vec::new());
        }
        // Kept, so that a repetition with the same nonce is recognized.
        room.data.push(request.clone());
        let notice = Notice::Data { room: room.info.sid.clone(), request: Box::new(request) };
        (Ok(proto::SendDataResponse {}), vec![notice.into()])
    })
}

/// LiveKit Cloud only.
pub(super) fn forward(server: &LiveKitDev, call: &Call) -> Answered {
    let request: proto::ForwardParticipantRequest = call.decode()?;
    not_implemented(server, call, (&request.room, &request.identity), &request.destination_room)
}

/// LiveKit Cloud only.
pub(super) fn move_to(server: &LiveKitDev, call: &Call) -> Answered {
    let request: proto::MoveParticipantRequest = call.decode()?;
    not_implemented(server, call, (&request.room, &request.identity), &request.destination_room)
}

/// The participant's node says so, if there is one.
fn not_implemented(
    server: &LiveKitDev,
    call: &Call,
    (room, identity): (&str, &str),
    destination: &str,
) -> Answered {
    call.require_admin(room)?;
    call.require(|grant| grant.destination_room == destination)?;
    if room == destination {
        return Err(TwirpError::argument("destination room cannot be the same as source room", ""));
    }
    // The arguments are checked before the node is asked.
    if !server.look(|world| world.is_connected(room, identity)) {
        return Err(TwirpError::no_response());
    }
    Err(TwirpError::internal_rpc(Code::Unknown, "not implemented"))
}

/// The participant's client answers. A participant without a client has no method.
pub(super) async fn perform_rpc(server: &LiveKitDev, call: &Call) -> Answered {
    let request: proto::PerformRpcRequest = call.decode()?;
    call.require_admin(&request.room)?;
    let identity = &request.destination_identity;
    if identity.is_empty() {
        return Err(TwirpError::internal_rpc(Code::InvalidArgument, "destination identity is required"));
    }
    if !server.look(|world| world.is_connected(&request.room, identity)) {
        return Err(TwirpError::no_response());
    }
    let (reply, answered) = oneshot::channel();
    server.media().post(Command::Rpc { request: Box::new(request), reply });
    // The engine may have stopped: then no client answers.
    match answered.await.unwrap_or(Err(RpcError::NotConnected)) {
        Ok(payload) => call.answer(|_: proto::PerformRpcRequest| Ok(proto::PerformRpcResponse { payload })),
        Err(error) => Err(rpc_error(error)),
    }
}

fn rpc_error(error: RpcError) -> TwirpError {
    let (status, code, message) = match error {
        RpcError::Refused { code, message } => (Code::InvalidArgument, code, message),
        RpcError::NotConnected => {
            (Code::InvalidArgument, 1400, "Method not supported at destination".to_owned())
        }
        RpcError::TimedOut => (Code::DeadlineExceeded, 1502, "Response timeout".to_owned()),
        RpcError::Left => (Code::Unavailable, 1503, "Recipient disconnected".to_owned()),
    };
    TwirpError::internal_rpc(status, &format!("RpcError {code}: {message}"))
}
