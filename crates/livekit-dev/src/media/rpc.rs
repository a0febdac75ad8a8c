//! `PerformRpc`: a call of the API that a client answers.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use livekit_protocol::{DataPacket, PerformRpcRequest, RpcRequest, data_packet::Value, rpc_response};
use prost::Message;
use tokio::sync::oneshot;

use super::{client::Sid, data::RELIABLE, engine::Engine};
use crate::ids;

/// How long a client may take, unless the call says otherwise.
const TIMEOUT_MS: u32 = 10_000;

/// How long it may take whatever the call says: its HTTP request is open meanwhile.
const LONGEST_MS: u32 = 60_000;

const VERSION: u32 = 1;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RpcError {
    /// No client of this identity is connected.
    NotConnected,
    TimedOut,
    /// The client left before its answer.
    Left,
    /// The client's own answer.
    Refused {
        code: u32,
        message: String,
    },
}

type Reply = oneshot::Sender<Result<String, RpcError>>;

#[derive(Debug)]
struct Call {
    callee: Sid,
    reply: Reply,
    until: Instant,
}

/// The calls that wait for an answer, by id.
#[derive(Debug, Default)]
pub(super) struct Calls(HashMap<String, Call>);

impl Calls {
    /// Whether the packet of this client is an answer, or belongs to one.
    pub(super) fn answered(&mut self, from: &Sid, packet: &DataPacket) -> bool {
        let (id, result) = match &packet.value {
            // An acknowledgement needs no action, but must not reach other clients.
            Some(Value::RpcAck(ack)) => return self.0.contains_key(&ack.request_id),
            Some(Value::RpcResponse(response)) => (&response.request_id, &response.value),
            _ => return false,
        };
        let result = match result {
            Some(rpc_response::Value::Payload(payload)) => Ok(payload.clone()),
            Some(rpc_response::Value::Error(error)) => {
                Err(RpcError::Refused { code: error.code, message: error.message.clone() })
            }
            // The real server does not read these, and goes on waiting.
            Some(rpc_response::Value::CompressedPayload(_)) | None => return false,
        };
        // Only the client that was called may answer.
        if self.0.get(id).is_none_or(|call| call.callee != *from) {
            return false;
        }
        self.end(|called, _| called == id, &result);
        true
    }

    pub(super) fn callee_left(&mut self, sid: &str) {
        self.end(|_, call| &*call.callee == sid, &Err(RpcError::Left));
    }

    fn expire(&mut self, now: Instant) {
        self.end(|_, call| call.until <= now, &Err(RpcError::TimedOut));
    }

    fn end(&mut self, ends: impl Fn(&str, &Call) -> bool, result: &Result<String, RpcError>) {
        // Removed before the reply, so that a call ends once.
        for (_, call) in self.0.extract_if(|id, call| ends(id, call)) {
            // The caller may have gone.
            let _ = call.reply.send(result.clone());
        }
    }
}

impl Engine {
    pub(super) fn call(&mut self, request: PerformRpcRequest, reply: Reply) {
        let found = self.clients.iter().find(|(_, client)| {
            client.session.room == request.room && client.session.identity == request.destination_identity
        });
        let Some((sid, _)) = found else {
            let _ = reply.send(Err(RpcError::NotConnected));
            return;
        };
        let sid: Sid = Arc::clone(sid);
        let id = ids::uuid();
        let timeout_ms = timeout_ms(request.response_timeout_ms);
        let packet = DataPacket {
            participant_identity: id.clone(),
            value: Some(Value::RpcRequest(RpcRequest {
                id: id.clone(),
                method: request.method,
                payload: request.payload,
                response_timeout_ms: timeout_ms,
                version: VERSION,
                ..RpcRequest::default()
            })),
            ..DataPacket::default()
        };
        let until = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
        // Before the request is sent, so that no answer can come too early.
        self.calls.0.insert(id, Call { callee: Arc::clone(&sid), reply, until });
        self.send_data(&sid, RELIABLE, packet.encode_to_vec().into());
    }

    pub(super) fn expire_calls(&mut self, now: Instant) {
        self.calls.expire(now);
    }
}

fn timeout_ms(asked: u32) -> u32 {
    if asked == 0 { TIMEOUT_MS } else { asked.min(LONGEST_MS) }
}

#[cfg(test)]
mod tests {
    use super::timeout_ms;

    #[test]
    fn call_waits_at_most_a_minute() {
        assert_eq!([0, 1, 60_000, u32::MAX].map(timeout_ms), [10_000, 1, 60_000, 60_000]);
    }
}
