//! `POST /twirp/livekit.<Service>/<Method>`: routes, faults, and the time an unanswered call takes.

pub(crate) mod codec;
pub(crate) mod error;
mod lenient;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, Method, Uri},
    response::{IntoResponse, Response},
};

use self::{
    codec::{Answered, Call, Codec},
    error::TwirpError,
};
use crate::{LiveKitDev, agents, auth::Caller, egress, faults::Plan, redis, room_service, rtc, telephony};

/// The services of a real server.
const SERVICES: [&str; 5] = [
    "livekit.RoomService",
    "livekit.Egress",
    "livekit.AgentDispatchService",
    "livekit.Ingress",
    "livekit.SIP",
];

pub(crate) async fn handle(
    State(server): State<LiveKitDev>,
    Path((service, method)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    verb: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let codec = match check_route(&verb, &uri, &headers) {
        Ok(codec) => codec,
        Err(error) => return error.into_response(),
    };
    let Ok(body) = body else { return codec.malformed().into_response() };
    // Before faults: a test waits for a call to arrive.
    server.count_call(&method);
    let plan = server.faults().plan(&method, &codec.about(&method, &body));
    // A fault may end the call before it has any effect.
    if let Some(refused) = plan.before(&server).await {
        return refused;
    }
    // Who brought no token is refused before anything is looked up.
    let trouble = caller.0.as_ref().and_then(|_| redis::trouble(&server, &method));
    let call = Call { codec, body, caller, view: plan.view() };
    let answered = match trouble {
        Some(error) => Err(error),
        None => match dispatch(&server, &service, &method, &call).await {
            Some(answered) => answered,
            None => return absent(&service, &verb, &uri),
        },
    };
    finish(&server, &plan, answered).await
}

fn check_route(verb: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Codec, TwirpError> {
    let bad_route = |msg: String| TwirpError::bad_route(msg, verb.as_str(), uri.path());
    if verb != Method::POST {
        return Err(bad_route(format!("unsupported method \"{verb}\" (only POST is allowed)")));
    }
    Codec::of(headers).map_err(|given| bad_route(format!("unexpected Content-Type: \"{given}\"")))
}

async fn dispatch(server: &LiveKitDev, service: &str, method: &str, call: &Call) -> Option<Answered> {
    match service {
        "livekit.RoomService" if method == "PerformRpc" => {
            Some(room_service::perform_rpc(server, call).await)
        }
        "livekit.RoomService" => room_service::dispatch(server, method, call),
        "livekit.Egress" => egress::dispatch(server, method, call),
        "livekit.AgentDispatchService" => agents::dispatch(server, method, call),
        "livekit.Ingress" => telephony::ingress(server, method, call),
        "livekit.SIP" => telephony::sip(server, method, call),
        _ => None,
    }
}

fn absent(service: &str, verb: &Method, uri: &Uri) -> Response {
    if !SERVICES.contains(&service) {
        return rtc::page_not_found();
    }
    let msg = format!("no handler for path \"{}\"", uri.path());
    TwirpError::bad_route(msg, verb.as_str(), uri.path()).into_response()
}

async fn finish(server: &LiveKitDev, plan: &Plan, answered: Answered) -> Response {
    // After the effect, so that the answer is lost and not the call.
    if let Some(failed) = plan.after(server).await {
        return failed;
    }
    match answered {
        Ok(response) => response,
        Err(error) => {
            server.wait(error.after).await;
            error.into_response()
        }
    }
}
