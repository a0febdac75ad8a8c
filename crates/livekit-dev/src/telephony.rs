//! `livekit.Ingress` and `livekit.SIP`, which need Redis and servers of their own. Without Redis they say so, and with it
//! there is nothing to list and nothing can be made.

use axum::response::IntoResponse;

use crate::{
    LiveKitDev,
    config::Store,
    twirp::{
        codec::{Answered, Call},
        error::{Code, TwirpError},
    },
};

/// `None` for a method that does not exist.
pub(crate) fn ingress(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    let answered = match method {
        // The real server does not look for its Redis first.
        "UpdateIngress" | "DeleteIngress" if server.config().store == Store::Memory => {
            Err(TwirpError::new(Code::Internal, "Internal service panic"))
        }
        "CreateIngress" | "ListIngress" | "UpdateIngress" | "DeleteIngress" => {
            Err(not_connected(server, "ingress"))
        }
        _ => return None,
    };
    let allowed = call.require(|grant| grant.ingress_admin);
    Some(allowed.and_then(|()| list_or(server, method, call, answered)))
}

/// `None` for a method that does not exist.
pub(crate) fn sip(server: &LiveKitDev, method: &str, call: &Call) -> Option<Answered> {
    let allowed = match method {
        "CreateSIPParticipant" | "TransferSIPParticipant" => call.require_sip(|sip| sip.call),
        "ListSIPTrunk"
        | "CreateSIPTrunk"
        | "CreateSIPInboundTrunk"
        | "CreateSIPOutboundTrunk"
        | "UpdateSIPInboundTrunk"
        | "UpdateSIPOutboundTrunk"
        | "GetSIPInboundTrunk"
        | "GetSIPOutboundTrunk"
        | "ListSIPInboundTrunk"
        | "ListSIPOutboundTrunk"
        | "DeleteSIPTrunk"
        | "CreateSIPDispatchRule"
        | "UpdateSIPDispatchRule"
        | "ListSIPDispatchRule"
        | "DeleteSIPDispatchRule" => call.require_sip(|sip| sip.admin),
        _ => return None,
    };
    Some(allowed.and_then(|()| list_or(server, method, call, Err(not_connected(server, "sip")))))
}

/// With Redis, lists are empty.
fn list_or(server: &LiveKitDev, method: &str, call: &Call, otherwise: Answered) -> Answered {
    if server.config().store == Store::RedisLike && method.starts_with("List") {
        return Ok(call.codec.empty_list().into_response());
    }
    otherwise
}

fn not_connected(server: &LiveKitDev, what: &str) -> TwirpError {
    match server.config().store {
        Store::Memory => {
            TwirpError::internal_rpc(Code::Internal, &format!("{what} not connected (redis required)"))
        }
        Store::RedisLike => TwirpError::new(Code::Unimplemented, format!("livekit-dev has no {what}")),
    }
}
