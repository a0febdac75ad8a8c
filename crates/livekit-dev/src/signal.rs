//! Where signalling and media begin: everything after a connection has been found good. Not built yet. What comes
//! here upgrades the socket, joins with `LiveKitDev::connect`, and calls `activate`, `publish` and `leave` where
//! tests call them now.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

pub(crate) fn connect() -> Response {
    let text = "livekit-dev has no signalling yet; POST /_dev/join makes this token's participant join";
    (StatusCode::NOT_IMPLEMENTED, text).into_response()
}
