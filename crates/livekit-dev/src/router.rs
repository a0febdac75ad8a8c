//! The routes of a LiveKit server, and ours beside them.

use std::time::{Duration, UNIX_EPOCH};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, header::DATE},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};

use crate::{Hand, LiveKitDev, admin, auth, limits, rtc, twirp};

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_hours(24);

impl LiveKitDev {
    pub fn router(&self) -> Router {
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .max_age(PREFLIGHT_AGE);
        Router::new()
            .route("/", get(health))
            .route("/rtc", get(rtc::connect))
            .route("/rtc/validate", get(rtc::validate))
            .route("/twirp/{service}/{*method}", any(twirp::handle))
            // Clients put a slash after the host and another one before the path.
            .route("//twirp/{service}/{*method}", any(twirp::handle))
            .fallback(async || rtc::page_not_found())
            .layer(DefaultBodyLimit::max(limits::BODY))
            .layer(middleware::from_fn_with_state(self.clone(), auth::authenticate))
            .layer(cors)
            .layer(middleware::map_response_with_state(self.clone(), dated))
            .merge(admin::router(self))
            .with_state(self.clone())
    }
}

/// The server's own idea of the time: the hand that tokens are judged by.
async fn dated(State(server): State<LiveKitDev>, mut response: Response) -> Response {
    let since = Duration::from_secs(u64::try_from(server.clock().now_s(Hand::Tokens)).unwrap_or_default());
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
