//! `livekit.RoomService`: rooms here, participants in [`participants`], what goes to a live room or
//! participant in [`live`].

mod live;
mod participants;

use livekit_protocol as proto;

use crate::{
    LiveKitDev,
    clock::ClockHandle,
    config::Store,
    limits,
    state::{CreateError, DeleteError, room::RoomSpec},
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

pub(crate) use self::participants::change as update_participant;

/// What the store says when it has no node, not even the one that is asked.
pub(crate) const NO_NODES: &str = "could not find any available nodes";

/// `None` for a method that does not exist.
pub(crate) fn dispatch(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    Some(match method {
        "CreateRoom" => call.answer(|request| create(server, call, &request)),
        "ListRooms" => call.answer(|request| list(server, call, &request)),
        "DeleteRoom" => call.answer(|request| delete(server, call, &request)),
        "UpdateRoomMetadata" => call.answer(|request| live::update_metadata(server, call, request)),
        "ListParticipants" => call.answer(|request| participants::list(server, call, &request)),
        "GetParticipant" => call.answer(|request| participants::get(server, call, &request)),
        "RemoveParticipant" => call.answer(|request| participants::remove(server, call, &request)),
        "UpdateParticipant" => call.answer(|request| participants::update(server, call, request)),
        "MutePublishedTrack" => call.answer(|request| live::mute(server, call, &request)),
        "UpdateSubscriptions" => call.answer(|request| live::update_subscriptions(server, call, &request)),
        "SendData" => call.answer(|request| live::send_data(server, call, request)),
        "ForwardParticipant" => live::forward(server, call),
        "MoveParticipant" => live::move_to(server, call),
        _ => return None,
    })
}

/// The one call that waits for a client.
pub(crate) async fn perform_rpc(server: &LiveKitDev, call: &Call) -> Answered {
    live::perform_rpc(server, call).await
}

fn create(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::CreateRoomRequest,
) -> Result<proto::Room, TwirpError> {
    call.require(|grant| grant.room_create)?;
    limits::check_room_name(&request.name)?;
    limits::check_metadata(&request.metadata)?;
    if !request.room_preset.is_empty() {
        let msg = "unknown room configuration in create room request";
        return Err(TwirpError::internal_rpc(Code::InvalidArgument, msg));
    }
    let store = server.config().store;
    if request.egress.is_some() && store == Store::Memory {
        return Err(TwirpError::internal_rpc(Code::Internal, "egress not connected (redis required)"));
    }
    let now_ms = server.clock().now_ms(ClockHandle::Rooms);
    let spec = RoomSpec::from(request);
    let room = server.change(|world, config| world.create_room(&spec, config, now_ms));
    let room = room.map_err(create_error)?;
    if request.egress.as_ref().is_some_and(|egress| egress.room.is_some()) {
        // No worker takes the recording: the call fails although the room is there.
        return Err(TwirpError::no_worker());
    }
    Ok(room)
}

pub(crate) fn create_error(error: CreateError) -> TwirpError {
    match error {
        CreateError::NoAnswer => TwirpError::no_response(),
        CreateError::NoNodes => TwirpError::internal_rpc(Code::Unknown, NO_NODES),
    }
}

fn list(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::ListRoomsRequest,
) -> Result<proto::ListRoomsResponse, TwirpError> {
    call.require(|grant| grant.room_list)?;
    let mut rooms = server.look(|world| world.list_rooms(&request.names));
    rooms.retain(|room| call.view.shows_room(&room.name));
    Ok(proto::ListRoomsResponse { rooms })
}

fn delete(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::DeleteRoomRequest,
) -> Result<proto::DeleteRoomResponse, TwirpError> {
    call.require(|grant| grant.room_create)?;
    let now_s = server.clock().now_s(ClockHandle::Rooms);
    let deleted = server.change(|world, _| match world.delete_room(&request.room, now_s) {
        Ok(events) => (Ok(()), events),
        Err(error) => (Err(error), Vec::new()),
    });
    match deleted {
        Ok(()) => Ok(proto::DeleteRoomResponse {}),
        Err(DeleteError::Absent) => Err(no_room()),
        Err(DeleteError::NoAnswer) => Err(TwirpError::no_response()),
        Err(DeleteError::NoNode) => Err(TwirpError::internal_rpc(Code::Unknown, "could not find object")),
    }
}

fn no_room() -> TwirpError {
    TwirpError::internal_rpc(Code::NotFound, "requested room does not exist")
}
