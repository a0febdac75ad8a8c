//! What a booking asks of room-lifecycle, after its own commit: best effort within 3 s, because the passes there
//! finish whatever is missing.

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

const BUDGET: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Rooms(RoomServiceClient<Transport>);

impl Rooms {
    pub fn new(room: Transport) -> Self {
        Self(RoomServiceClient::new(room).max_decoding_message_size(MESSAGE_LIMIT))
    }

    /// The room, or why it was not made; a booking that was closed meanwhile needs none.
    pub async fn create(&self, session_id: SessionId) -> Result<Option<Room>, Reason> {
        let request = CreateRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        match asked(session_id, "CreateRoom", self.0.clone().create_room(request)).await {
            Ok(answer) => Ok(answer.room),
            Err(Reason::MeetingEnded | Reason::SessionCancelled) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    pub async fn retime(&self, session_id: SessionId) {
        let request = RetimeRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        let _ = asked(session_id, "RetimeRoom", self.0.clone().retime_room(request)).await;
    }

    pub async fn end(&self, session_id: SessionId) {
        let request = EndRoomRequest { caller: Some(system_caller()), session_id: session_id.to_string() };
        let _ = asked(session_id, "EndRoom", self.0.clone().end_room(request)).await;
    }
}

async fn asked<T>(
    session_id: SessionId,
    method: &'static str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Reason> {
    // The transport's deadline ends with the headers of the answer; the timeout covers its body too.
    let answer = match tokio::time::timeout(BUDGET, context::with_budget(BUDGET, call)).await {
        Ok(answer) => answer.map(Response::into_inner).map_err(|status| Refusal::from_status(&status).reason),
        Err(_) => Err(Reason::ServiceUnavailable),
    };
    let result = answer.as_ref().map_or_else(|reason| reason.code(), |_| "ok");
    metrics::counter!("greenroom_booking_room_calls_total", "method" => method, "result" => result)
        .increment(1);
    if let Err(reason) = &answer {
        tracing::warn!(session.id = %session_id, rpc.method = method, code = reason.code(),
            "room-lifecycle did not do it in time; its passes finish it");
    }
    answer
}
