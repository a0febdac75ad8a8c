//! `/_dev`: the verbs of this crate over HTTP, for tests in other processes and for trying things with curl.
//!
//! Guarded by HTTP Basic with the API key and secret, whatever address is bound: unlike a Twirp bearer token it
//! needs no tool to make (`curl -u devkey:secret`), and unlike an open loopback it stays closed to web pages and
//! to every client that reaches a server in a container.

mod participants;
mod recordings;
mod switches;
mod webhooks;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    LiveKitDev,
    proto_json::{self, Answer},
};

pub(crate) fn router(server: &LiveKitDev) -> Router<LiveKitDev> {
    Router::new()
        .route("/_dev/join", post(participants::join))
        .route("/_dev/connect", post(participants::connect))
        .route("/_dev/activate", post(participants::activate))
        .route("/_dev/leave", post(participants::leave))
        .route("/_dev/publish", post(participants::publish))
        .route("/_dev/unpublish", post(participants::unpublish))
        .route("/_dev/recordings", get(recordings::list).post(recordings::advance))
        .route("/_dev/rooms", get(switches::rooms))
        .route("/_dev/calls", get(switches::calls))
        .route("/_dev/clock", post(switches::clock))
        .route("/_dev/restart", post(switches::restart))
        .route("/_dev/flush", post(switches::flush))
        .route("/_dev/switches", get(switches::get).put(switches::set))
        .route("/_dev/faults", get(switches::faults).post(switches::arm).delete(switches::clear_faults))
        .route("/_dev/client-faults", post(switches::client_fault))
        .route("/_dev/webhooks", get(webhooks::get).put(webhooks::set_urls))
        .route("/_dev/webhooks/chaos", post(webhooks::arm).delete(webhooks::clear))
        .route("/_dev/webhooks/hold", put(webhooks::hold))
        .route("/_dev/webhooks/release", post(webhooks::release))
        .route("/_dev/webhooks/idle", get(webhooks::idle))
        // Around all of them, so that no route can be forgotten.
        .layer(middleware::from_fn_with_state(server.clone(), guard))
}

async fn guard(State(server): State<LiveKitDev>, request: Request, next: Next) -> Response {
    let config = server.config();
    let expected = STANDARD.encode(format!("{}:{}", config.api_key, config.api_secret));
    let given =
        request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    if given == Some(expected.as_str()) {
        return next.run(request).await;
    }
    let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"livekit-dev\"")];
    // The header makes browsers and curl ask for the credentials.
    (StatusCode::UNAUTHORIZED, challenge, "the API key and secret, please (curl -u key:secret)")
        .into_response()
}

/// A message as Twirp's JSON writes it.
fn message<T: Answer>(message: &T) -> Response {
    match proto_json::to_json(message) {
        Ok(json) => Json(json).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

fn refusal(status: StatusCode, error: &dyn std::error::Error) -> Response {
    (status, Json(json!({"error": error.to_string()}))).into_response()
}
