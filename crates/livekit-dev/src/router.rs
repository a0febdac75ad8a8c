//! The routes of a LiveKit server, and ours beside them.

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_LENGTH, DATE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};

use crate::{ClockHandle, LiveKitDev, admin, auth, cors, limits, rtc, twirp};

impl LiveKitDev {
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", any(health))
            .route("/rtc", any(rtc::connect))
            .route("/rtc/validate", any(rtc::validate))
            .route("/rtc/v1", any(rtc::connect_v1))
            .route("/rtc/v1/validate", any(rtc::validate_v1))
            // Workers of agents connect to the first, which this server does not have. WHIP clients probe the second.
            .route("/agent", any(async || StatusCode::NOT_FOUND))
            .route("/whip/v1", get(async || StatusCode::NO_CONTENT).fallback(async || rtc::page_not_found()))
            .route("/twirp/{service}/{*method}", any(twirp::handle))
            // Clients put a slash after the host and another one before the path.
            .route("//twirp/{service}/{*method}", any(twirp::handle))
            .fallback(async || rtc::page_not_found())
            .layer(DefaultBodyLimit::max(limits::BODY))
            .layer(middleware::from_fn_with_state(self.clone(), auth::authenticate))
            .layer(middleware::from_fn(refuse_large_bodies))
            // Outside of authentication, so that refusals have CORS headers too.
            .layer(middleware::from_fn(cors::allow))
            .layer(middleware::map_response_with_state(self.clone(), dated))
            // Merged last: `/_dev` has a guard of its own and no token.
            .merge(admin::router(self))
            .with_state(self.clone())
    }
}

/// Refuses a body whose `Content-Length` is too large, on every path and before the token is read. A body without a
/// length is cut at the limit, and then cannot be decoded.
async fn refuse_large_bodies(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limits::BODY as u64) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "request body too large").into_response();
    }
    next.run(request).await
}

/// The server's own idea of the time: the hand that tokens are judged by.
async fn dated(State(server): State<LiveKitDev>, mut response: Response) -> Response {
    let since =
        Duration::from_secs(u64::try_from(server.clock().now_s(ClockHandle::Tokens)).unwrap_or_default());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + since)) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn health(State(server): State<LiveKitDev>) -> Response {
    match server.go_wrong("health").await {
        Some(response) => response,
        None => "OK".into_response(),
    }
}
