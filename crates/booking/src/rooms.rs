//! The calls to room-lifecycle after a booking's commit: best effort within 3 s. The passes of room-lifecycle finish
//! what is missing.

use std::{future::Future, time::Duration};

use chassis::{
    context,
    grpc::{MESSAGE_LIMIT, system_caller},
    status::{Reason, Refusal},
    transport::Transport,
};
use domain::SessionId;
use proto::room::v1::{
    CreateRoomRequest, EndRoomRequest, RetimeRoomRequest, Room, room_service_client::RoomServiceClient,
};
use tonic::{Response, Status};

const CALL_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Rooms(RoomServiceClient<Transport>);

impl Rooms {
    pub fn new(room: Transport) -> Self {
        Self(RoomServiceClient::new(room).max_decoding_message_size(MESSAGE_LIMIT))
    }

    /// Creates the room. None: the booking was closed meanwhile and needs no room.
    pub async fn create(&self, session_id: SessionId) -> Result<Option<Room>, Reason> {
        let request = CreateRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        match logged(session_id, "CreateRoom", self.0.clone().create_room(request)).await {
            Ok(answer) => Ok(answer.room),
            // No failure: there is nothing that the room could be for.
            Err(Reason::MeetingEnded | Reason::SessionCancelled) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    pub async fn retime(&self, session_id: SessionId) {
        let request = RetimeRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        let _ = logged(session_id, "RetimeRoom", self.0.clone().retime_room(request)).await;
    }

    pub async fn end(&self, session_id: SessionId) {
        let request = EndRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        let _ = logged(session_id, "EndRoom", self.0.clone().end_room(request)).await;
    }
}

/// Runs a call under the timeout, counts its result and logs its failure.
async fn logged<T>(
    session_id: SessionId,
    method: &'static str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Reason> {
    // The transport's deadline covers only the headers of the response; the timeout covers its body too.
    let answer = match tokio::time::timeout(CALL_TIMEOUT, context::with_budget(CALL_TIMEOUT, call)).await {
        Ok(answer) => answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status).reason),
        Err(_) => Err(Reason::ServiceUnavailable),
    };
    let result = answer.as_ref().map_or_else(|reason| reason.code(), |_| "ok");
    metrics::counter!("greenroom_booking_room_calls_total", "method" => method, "result" => result)
        .increment(1);
    if let Err(reason) = &answer {
        tracing::warn!(session.id = %session_id, rpc.method = method, code = reason.code(),
            "call to room-lifecycle failed; its passes will finish the work");
    }
    answer
}
