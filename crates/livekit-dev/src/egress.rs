//! `livekit.Egress`: the store of recordings, and the jobs given to a worker that writes small real files.
//!
//! A server without a worker answers as LiveKit does without one: 503 for every start, and without Redis nothing can
//! be listed or stopped. The states that a recording goes through are in [`crate::state::egress`].

mod check;
mod job;
pub(crate) mod media;
pub(crate) mod output;
mod streams;
mod worker;

use livekit_protocol as proto;
use serde_json::json;

use self::job::Job;
use crate::{
    LiveKitDev,
    config::{NO_RESPONSE, Store, Worker},
    room_service,
    state::{self, egress::StopError},
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

pub(crate) use self::worker::work;

/// `None` for a method that does not exist.
pub(crate) fn dispatch(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    Some(match method {
        "StartEgress" => start::<proto::StartEgressRequest>(server, call),
        "StartRoomCompositeEgress" => start::<proto::RoomCompositeEgressRequest>(server, call),
        "StartParticipantEgress" => start::<proto::ParticipantEgressRequest>(server, call),
        "StartTrackCompositeEgress" => start::<proto::TrackCompositeEgressRequest>(server, call),
        "StartTrackEgress" => start::<proto::TrackEgressRequest>(server, call),
        "StartWebEgress" => start::<proto::WebEgressRequest>(server, call),
        "ListEgress" => call.answer(|request| list(server, call, &request)),
        "StopEgress" => call.answer(|request| stop(server, call, &request)),
        "UpdateLayout" => call.answer(|request| update_layout(server, call, &request)),
        "UpdateStream" => call.answer(|request| update_stream(server, call, &request)),
        _ => return None,
    })
}

/// A room that is named must exist; then a worker takes the job, or none does.
fn start<J>(server: &LiveKitDev, call: &Call) -> Answered
where
    J: Job + prost::Message + Default + serde::de::DeserializeOwned,
{
    call.answer(|job: J| {
        call.require(|grant| grant.room_record)?;
        let room = job.room_name();
        // The order of LiveKit's checks: rights, room, worker, and only then the worker's own.
        if !room.is_empty() && !server.knows_room(room) {
            return Err(TwirpError::internal_rpc(Code::NotFound, "requested room does not exist"));
        }
        if !has_worker(server) {
            return Err(TwirpError::no_worker());
        }
        job.check().map_err(|wrong| refused(&wrong))?;
        let (output, source) = (job.output(), job.source());
        let now_ns = server.now_ns();
        Ok(server.change(|world, _| world.start_egress(room, job.request(), output, source, now_ns)))
    })
}

/// Workers are reached through Redis.
fn has_worker(server: &LiveKitDev) -> bool {
    let config = server.config();
    let at_work = matches!(server.switches().worker, Worker::Works | Worker::Waits);
    config.recordings.is_some() && config.store == Store::RedisLike && at_work
}

fn list(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::ListEgressRequest,
) -> Result<proto::ListEgressResponse, TwirpError> {
    require(server, call)?;
    let items = if request.egress_id.is_empty() {
        server.look(|world| world.list_egress(&request.room_name, request.active))
    } else {
        vec![find(server, call, &request.egress_id)?]
    };
    let items = items.into_iter().filter(|egress| call.view.shows_egress(&egress.egress_id)).collect();
    Ok(proto::ListEgressResponse { items, ..proto::ListEgressResponse::default() })
}

fn stop(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::StopEgressRequest,
) -> Result<proto::EgressInfo, TwirpError> {
    // A refusal also takes the 3 s in which the worker could have answered.
    require(server, call).map_err(worker_first)?;
    let now_ns = server.now_ns();
    let stopped = server.change(|world, _| match world.stop_egress(&request.egress_id, now_ns) {
        Ok((info, events)) => (Ok(info), events),
        Err(error) => (Err(error), Vec::new()),
    });
    stopped.map_err(|error| match error {
        StopError::Absent => worker_first(absent()),
        StopError::Ended(status) => worker_first(ended(status, "stopped")),
        StopError::Silent => TwirpError::silent(),
    })
}

/// The layout is metadata of the recorder, which is a participant only while it records.
fn update_layout(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::UpdateLayoutRequest,
) -> Result<proto::EgressInfo, TwirpError> {
    let info = find(server, call, &request.egress_id)?;
    let update = proto::UpdateParticipantRequest {
        room: info.room_name.clone(),
        identity: info.egress_id.clone(),
        metadata: json!({"layout": request.layout}).to_string(),
        ..proto::UpdateParticipantRequest::default()
    };
    room_service::update_participant(server, call, update)?;
    Ok(info)
}

/// Only the worker that has the recording answers. Without an answer the store gives the reason.
fn update_stream(
    server: &LiveKitDev,
    call: &Call,
    request: &proto::UpdateStreamRequest,
) -> Result<proto::EgressInfo, TwirpError> {
    let info = find(server, call, &request.egress_id).map_err(worker_first)?;
    if state::egress::is_over(&info) {
        return Err(worker_first(ended(info.status(), "updated")));
    }
    // The store knows the recording, and no worker answers for it.
    if server.switches().worker == Worker::Dead {
        return Err(TwirpError::no_response());
    }
    let Some(protocol) = info.request.as_ref().and_then(streams::protocol) else {
        let msg = "UpdateStream called on non-streaming egress";
        return Err(TwirpError::internal_rpc(Code::InvalidArgument, msg));
    };
    for url in &request.add_output_urls {
        streams::check_url(url, protocol).map_err(|wrong| refused(&wrong))?;
    }
    Ok(info)
}

fn ended(status: proto::EgressStatus, what: &str) -> TwirpError {
    let msg = format!("egress with status {} cannot be {what}", status.as_str_name());
    TwirpError::new(Code::FailedPrecondition, msg)
}

/// The worker's refusal comes through LiveKit's internal RPC layer.
fn refused(wrong: &check::Wrong) -> TwirpError {
    TwirpError::internal_rpc(Code::InvalidArgument, &wrong.to_string())
}

/// The worker is asked before the store, and only who has the recording would answer.
fn worker_first(error: TwirpError) -> TwirpError {
    // Rights are checked before the worker is asked, so this one is answered at once.
    if error.code == Code::Unauthenticated { error } else { error.after(NO_RESPONSE) }
}

fn find(server: &LiveKitDev, call: &Call, id: &str) -> Result<proto::EgressInfo, TwirpError> {
    require(server, call)?;
    server.look(|world| world.find_egress(id)).ok_or_else(absent)
}

fn require(server: &LiveKitDev, call: &Call) -> Result<(), TwirpError> {
    call.require(|grant| grant.room_record)?;
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
