//! Refusals over HTTP. All refusals have the same body, from the gateway and from the services.
//!
//! The body is `{"error", "message", "code", "request_id", …facts}`; the wording of `error` depends on the family of
//! routes. 429 and 503 have the header `Retry-After`. Internal causes are logged with the request id and are never in
//! the body.

use std::{error::Error as _, sync::Arc};

use axum::response::{IntoResponse, Response};
use chassis::{
    context,
    status::{Reason, Refusal},
};
use domain::{UnknownValue, field::FieldError};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use tonic_types::StatusExt as _;

use crate::family::Family;

/// The reason why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A service failed, or the connection to it.
    #[error(transparent)]
    Service(#[from] tonic::Status),
    #[error("no such route")]
    NoRoute,
    #[error("no such method on this route")]
    NoMethod,
    #[error("a service answered without {0}")]
    Incomplete(&'static str),
    /// A service is newer than this gateway, or forgot to set a field.
    #[error("a service answered with an unknown value: {0}")]
    Unknown(#[from] UnknownValue),
}

/// Returns the short title of a refusal for people, in the wording that existing clients have always shown.
pub(crate) fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidRequest => "Invalid Request",
        Reason::InvalidSessionId => "Invalid session ID",
        Reason::Unauthenticated => "Unauthorized",
        Reason::NotParticipant
        | Reason::NotHost
        | Reason::NotAdmin
        | Reason::Kicked
        | Reason::Banned
        | Reason::Rejected => "Access Denied",
        Reason::OriginNotAllowed => "Origin Not Allowed",
        Reason::WaitingInLobby => "Waiting In Lobby",
        Reason::RoomNotIdle => "Room Not Idle",
        Reason::RoomNotActive => "Room Not Active",
        Reason::RoomFull => "Room Full",
        Reason::TooEarly => "Meeting Not Started Yet",
        Reason::SessionNotFound => "Session Not Found",
        Reason::RoomNotFound => "Room Not Found",
        Reason::NotificationNotFound => "Notification Not Found",
        Reason::RecordingNotFound => "Recording Not Found",
        Reason::AlreadyRecording => "Already Recording",
        Reason::RecordingStopped => "Already Stopped",
        Reason::RecordingNotFinished => "Recording Not Finished",
        Reason::RecordingUnavailable => "Recording Unavailable",
        Reason::SlotTaken => "Slot Taken",
        Reason::IdempotencyKeyReused => "Idempotency Key Reused",
        Reason::SignatureUsed => "Signature Used",
        Reason::MeetingStarted => "Meeting Has Started",
        Reason::MeetingEnded => "Meeting Has Ended",
        Reason::SessionCancelled => "Session Cancelled",
        Reason::TooLarge => "Request Too Large",
        Reason::TokenTooLarge => "Token Too Large",
        Reason::UnsupportedEncoding => "Unsupported Encoding",
        Reason::RateLimited => "Too Many Requests",
        Reason::Internal => "Internal Server Error",
        Reason::LivekitUnavailable => "Video Server Unavailable",
        Reason::DatabaseUnavailable | Reason::DatabaseBusy | Reason::ServiceUnavailable => {
            "Service Unavailable"
        }
    }
}

impl Rejection {
    /// Converts to a refusal of a service. Refusals that only the gateway has become internal.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Service(status) => from_service(&status),
            // Only reached for a diagnosis, whose route exists.
            Self::NoRoute | Self::NoMethod => Refusal::internal(),
            Self::Incomplete(what) => {
                tracing::error!(what, "a service answered without a required field");
                Refusal::internal()
            }
            Self::Unknown(UnknownValue { name, value }) => {
                tracing::error!(name, value, "a service answered with an unknown value");
                Refusal::internal()
            }
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let refusal = match self {
            Self::NoRoute => {
                let message = "There is no such route; /docs lists all.";
                return body(StatusCode::NOT_FOUND, "Not Found", message, "route_not_found", Map::new());
            }
            Self::NoMethod => {
                let message = "This route has other methods; /docs lists all.";
                let status = StatusCode::METHOD_NOT_ALLOWED;
                return body(status, "Method Not Allowed", message, "method_not_allowed", Map::new());
            }
            rejection => rejection.into_refusal(),
        };
        refuse(refusal)
    }
}

/// Returns the request id of the current request, by which its log lines are found.
pub(crate) fn request_id() -> Arc<str> {
    context::current().map_or_else(|| Arc::from(""), |context| context.request_id)
}

/// Converts the status of a service to a refusal. A service logs its own refusals, so only failures are logged here.
pub(crate) fn from_service(status: &tonic::Status) -> Refusal {
    if status.get_details_error_info().is_some() {
        return Refusal::from_status(status);
    }
    tracing::warn!(
        code = ?status.code(), message = status.message(), cause = status.source(),
        "a call to a service failed"
    );
    if status.source().is_some() {
        return Refusal::unavailable(Reason::ServiceUnavailable, 1); // a transport error: the service did not answer
    }
    Refusal::from_status(status)
}

fn refuse(refusal: Refusal) -> Response {
    let reason = refusal.reason;
    let status = StatusCode::from_u16(reason.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Clients that retry at once would keep an overloaded service down, so both have a time.
    let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    let mut facts: Map<String, Value> =
        refusal.facts.into_iter().map(|(fact, value)| (fact, Value::String(value))).collect();
    let seconds = facts
        .get("retry_after")
        .and_then(|seconds| seconds.as_str()?.parse::<u64>().ok())
        // A refusal of a service may come without a time.
        .or(later.then_some(1));
    if let Some(seconds) = seconds {
        facts.insert("retry_after".to_owned(), seconds.into());
    }
    if status == StatusCode::BAD_REQUEST {
        let errors = refusal
            .errors
            .into_iter()
            .map(|FieldError { field, message }| json!({"field": field, "message": message}));
        facts.insert("errors".to_owned(), errors.collect());
    }
    let mut response = body(status, title(reason), &refusal.message, reason.code(), facts);
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let identity = HeaderValue::from_static("identity"); // RFC 9110, 15.5.16
        response.headers_mut().insert(header::ACCEPT_ENCODING, identity);
    }
    if later && let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn body(
    status: StatusCode,
    error: &str,
    message: &str,
    code: &'static str,
    mut fields: Map<String, Value>,
) -> Response {
    let fixed = [("error", error), ("message", message), ("code", code), ("request_id", &request_id())];
    for (field, value) in fixed {
        fields.insert(field.to_owned(), value.into());
    }
    // A refusal depends on the moment and on the caller.
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let mut response = (status, headers, axum::Json(&fields)).into_response();
    response.extensions_mut().insert(Fields(fields));
    response.extensions_mut().insert(Code(code));
    response
}

/// The code of a refusal, for the request's log line.
#[derive(Clone, Copy)]
pub(crate) struct Code(pub(crate) &'static str);

/// The fields of a refusal's body, kept so that the edge can write them in the wording of the family.
#[derive(Clone)]
struct Fields(Map<String, Value>);

/// Rewrites the body of a refusal in the wording that the clients of its family expect.
pub(crate) fn word_for(family: Family, response: &mut Response) {
    match family {
        Family::Api => {}
        Family::Live => word_for_live(response),
        Family::Nests => word_for_nests(response),
    }
}

/// Rewrites a refusal of `/api/v1/live`: `ok` is false and `error` is the code in capitals.
fn word_for_live(response: &mut Response) {
    // Only refusals have fields: other answers of the family stay as they are.
    let Some(Fields(mut fields)) = response.extensions_mut().remove() else { return };
    let code = fields.get("code").and_then(Value::as_str).unwrap_or_default().to_ascii_uppercase();
    fields.insert("error".to_owned(), code.into());
    fields.insert("ok".to_owned(), false.into());
    *response.body_mut() = Value::Object(fields).to_string().into();
}

/// Rewrites a refusal for clients of nests. They show the text of `error`, and they sign with Nostr keys.
fn word_for_nests(response: &mut Response) {
    let Some(Fields(mut fields)) = response.extensions_mut().remove() else { return };
    if let Some(challenge) = response.headers_mut().get_mut(header::WWW_AUTHENTICATE) {
        *challenge = HeaderValue::from_static("Nostr");
    }
    let code = fields.get("code").and_then(Value::as_str).and_then(|code| code.parse().ok());
    let error: Value = match code {
        Some(Reason::RoomNotFound) => "Room not found".into(),
        // For these two codes, clients show the message if `error` is true.
        Some(Reason::RecordingStopped | Reason::RecordingNotFinished) => true.into(),
        _ => return,
    };
    fields.insert("error".to_owned(), error);
    *response.body_mut() = Value::Object(fields).to_string().into();
}
