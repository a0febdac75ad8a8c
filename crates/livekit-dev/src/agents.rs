//! `livekit.AgentDispatchService`: each room has a list of dispatches. No worker takes one, because there is no `/agent`.

use livekit_protocol as proto;

use crate::{
    LiveKitDev,
    clock::ClockHandle,
    ids, limits,
    room_service::create_error,
    state::room::{Room, RoomSpec},
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

/// `None` for a method that does not exist.
pub(crate) fn dispatch(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    Some(match method {
        "CreateDispatch" => call.answer(|request| create(server, call, request)),
        "DeleteDispatch" => call.answer(|request| delete(server, call, &request)),
        "ListDispatch" => call.answer(|request| list(server, call, &request)),
        _ => return None,
    })
}

fn create(
    server: &LiveKitDev,
    call: &Call,
    request: proto::CreateAgentDispatchRequest,
) -> Result<proto::AgentDispatch, TwirpError> {
    call.require_admin(&request.room)?;
    if request.metadata.len() > limits::METADATA {
        return Err(too_large("metadata size exceeds limits"));
    }
    if limits::check_attributes(&request.attributes).is_err() {
        return Err(too_large("attribute size exceeds limits"));
    }
    let now_ms = server.clock().now_ms(ClockHandle::Rooms);
    // As the real server: with `auto_create` a dispatch makes its room.
    if server.config().auto_create {
        let spec = RoomSpec { name: request.room.clone(), ..RoomSpec::default() };
        server.change(|world, config| world.create_room(&spec, config, now_ms)).map_err(create_error)?;
    }
    let wanted = proto::RoomAgentDispatch {
        agent_name: request.agent_name,
        metadata: request.metadata,
        restart_policy: request.restart_policy,
        deployment: request.deployment,
        attributes: request.attributes,
    };
    in_room(server, &request.room, |room| {
        let dispatch = of_room(&room.info.name, wanted, now_ms);
        room.dispatches.push(dispatch.clone());
        Ok(dispatch)
    })
}

fn delete(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::DeleteAgentDispatchRequest,
) -> Result<proto::AgentDispatch, TwirpError> {
    call.require_admin(&request.room)?;
    in_room(server, &request.room, |room| {
        let at = room.dispatches.iter().position(|dispatch| dispatch.id == request.dispatch_id);
        let absent = || TwirpError::internal_rpc(Code::NotFound, "dispatch ID not found");
        at.map(|at| room.dispatches.remove(at)).ok_or_else(absent)
    })
}

/// An id that is not there is an empty list.
fn list(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::ListAgentDispatchRequest,
) -> Result<proto::ListAgentDispatchResponse, TwirpError> {
    call.require_admin(&request.room)?;
    let wanted = |id: &str| request.dispatch_id.is_empty() || request.dispatch_id == id;
    in_room(server, &request.room, |room| {
        let mut agent_dispatches = room.dispatches.clone();
        agent_dispatches.retain(|dispatch| wanted(&dispatch.id));
        Ok(proto::ListAgentDispatchResponse { agent_dispatches })
    })
}

/// Only the node that holds the room answers.
fn in_room<T>(
    server: &LiveKitDev,
    name: &str,
    change: impl FnOnce(&mut Room) -> Result<T, TwirpError>,
) -> Result<T, TwirpError> {
    server.alter(|world| {
        // A room that is only in the store has no node that could answer.
        let room = world.rooms.get_mut(name).filter(|room| room.is_live());
        change(room.ok_or_else(TwirpError::no_response)?)
    })
}

fn too_large(msg: &str) -> TwirpError {
    TwirpError::internal_rpc(Code::InvalidArgument, msg)
}

/// The dispatch of an agent that a room asks for.
pub(crate) fn of_room(room: &str, wanted: proto::RoomAgentDispatch, now_ms: i64) -> proto::AgentDispatch {
    let created_at = now_ms.saturating_mul(1_000_000);
    proto::AgentDispatch {
        id: ids::dispatch(),
        agent_name: wanted.agent_name,
        room: room.to_owned(),
        metadata: wanted.metadata,
        state: Some(proto::AgentDispatchState { created_at, ..proto::AgentDispatchState::default() }),
        restart_policy: wanted.restart_policy,
        deployment: wanted.deployment,
        attributes: wanted.attributes,
    }
}
