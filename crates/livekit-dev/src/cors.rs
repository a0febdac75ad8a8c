//! CORS: answers repeat the origin of the request. The two `validate` paths, which browsers ask after a failed upgrade,
//! allow every origin.

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

/// How long a browser may keep the answer to a preflight: one day, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("86400");

const EVERYTHING: HeaderValue = HeaderValue::from_static("*");

const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Adds the headers to every answer, refusals included, and answers preflights.
pub(crate) async fn allow(request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    // OPTIONS without this header is no preflight, and goes on to its route.
    if request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return preflight(request.headers(), origin);
    }
    let is_validate = matches!(request.uri().path(), "/rtc/validate" | "/rtc/v1/validate");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // Appended: an answer may have a Vary of its own.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if origin.is_some() {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EVERYTHING);
    }
    if let Some(allowed) = if is_validate { Some(EVERYTHING) } else { origin } {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    response
}

/// Without an origin nothing is allowed. Else the origin, the method and the headers are, as they were asked for.
fn preflight(asked: &HeaderMap, origin: Option<HeaderValue>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(VARY, PREFLIGHT_VARY);
    let Some(origin) = origin else {
        return (StatusCode::NO_CONTENT, headers).into_response();
    };
    let mut repeat = |from: HeaderName, to: HeaderName| {
        if let Some(value) = asked.get(from) {
            headers.insert(to, value.clone());
        }
    };
    repeat(ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS);
    repeat(ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    (StatusCode::NO_CONTENT, headers).into_response()
}
