//! `POST /twirp/livekit.<Service>/<Method>`: routes, faults, and the time an unanswered call takes.

pub(crate) mod codec;
pub(crate) mod error;

use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, Uri},
    response::{IntoResponse, Response},
};

use self::{
    codec::{Answered, Call, Codec},
    error::{Code, TwirpError},
};
use crate::{LiveKitDev, auth::Caller, egress, faults::Plan, redis, room_service, rtc};

/// Services of a real server that this one does not play.
const ABSENT_SERVICES: [&str; 3] = ["livekit.AgentDispatchService", "livekit.Ingress", "livekit.SIP"];

pub(crate) async fn handle(
    State(server): State<LiveKitDev>,
    Path((service, method)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    verb: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let codec = match check_route(&verb, &uri, &headers) {
        Ok(codec) => codec,
        Err(error) => return error.into_response(),
    };
    server.count_call(&method);
    let plan = server.faults().plan(&method, &codec.about(&method, &body));
    if let Some(refused) = plan.before(&server).await {
        return refused;
    }
    // Who brought no token is refused before anything is looked up.
    let trouble = caller.0.as_ref().and_then(|_| redis::trouble(&server, &method));
    let call = Call { codec, body, caller, view: plan.view() };
    let answered = match trouble {
        Some(error) => Err(error),
        None => match dispatch(&server, &service, &method, &call) {
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

fn dispatch(server: &LiveKitDev, service: &str, method: &str, call: &Call) -> Option<Answered> {
    match service {
        "livekit.RoomService" => room_service::dispatch(server, method, call),
        "livekit.Egress" => egress::dispatch(server, method, call),
        _ => None,
    }
}

fn absent(service: &str, verb: &Method, uri: &Uri) -> Response {
    if ABSENT_SERVICES.contains(&service) {
        let msg = format!("livekit-dev does not have {service}");
        return TwirpError::new(Code::Unimplemented, msg).into_response();
    }
    if !matches!(service, "livekit.RoomService" | "livekit.Egress") {
        return rtc::page_not_found();
    }
    let msg = format!("no handler for path \"{}\"", uri.path());
    TwirpError::bad_route(msg, verb.as_str(), uri.path()).into_response()
}

async fn finish(server: &LiveKitDev, plan: &Plan, answered: Answered) -> Response {
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
