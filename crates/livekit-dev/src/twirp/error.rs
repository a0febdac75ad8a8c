//! Twirp errors: the codes, their statuses, and the two ways in which LiveKit words a message.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The codes of the Twirp specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Canceled,
    Unknown,
    InvalidArgument,
    Malformed,
    DeadlineExceeded,
    NotFound,
    BadRoute,
    AlreadyExists,
    PermissionDenied,
    Unauthenticated,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    #[serde(rename = "dataloss")]
    DataLoss,
}

impl Code {
    pub fn status(self) -> StatusCode {
        match self {
            Self::Canceled | Self::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidArgument | Self::Malformed | Self::OutOfRange => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::BadRoute => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Aborted => StatusCode::CONFLICT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown | Self::Internal | Self::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TwirpError {
    pub code: Code,
    msg: String,
    /// The route of a `bad_route`.
    invalid_route: Option<String>,
    /// Nobody answered: the caller learns it only after the server has given up waiting.
    pub after_waiting: bool,
}

impl TwirpError {
    /// An error that the method's own code makes.
    pub(crate) fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), invalid_route: None, after_waiting: false }
    }

    /// An error that passes through LiveKit's internal RPC layer, which puts a prefix before the message
    /// whatever the code. Callers must match on the code.
    pub(crate) fn internal_rpc(code: Code, msg: &str) -> Self {
        Self::new(code, format!("twirp error unknown: {msg}"))
    }

    pub(crate) fn denied() -> Self {
        Self::new(Code::Unauthenticated, "permissions denied")
    }

    /// No node holds the room or the participant that the call is for.
    pub(crate) fn no_response() -> Self {
        let error = Self::internal_rpc(Code::Unavailable, "no response from servers");
        Self { after_waiting: true, ..error }
    }

    /// Whoever holds it was asked, and did not answer.
    pub(crate) fn silent() -> Self {
        let error = Self::internal_rpc(Code::DeadlineExceeded, "request timed out");
        Self { after_waiting: true, ..error }
    }

    pub(crate) fn bad_route(msg: impl Into<String>, verb: &str, path: &str) -> Self {
        Self { invalid_route: Some(format!("{verb} {path}")), ..Self::new(Code::BadRoute, msg) }
    }
}

impl IntoResponse for TwirpError {
    fn into_response(self) -> Response {
        let mut body = json!({"code": self.code, "msg": self.msg});
        if let Some(route) = self.invalid_route {
            body["meta"] = json!({"twirp_invalid_route": route});
        }
        (self.code.status(), Json(body)).into_response()
    }
}
