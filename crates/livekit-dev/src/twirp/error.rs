//! Twirp errors: the codes, their statuses, and the two ways in which LiveKit words a message.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::config::{NO_RESPONSE, NO_WORKER};

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
    /// What the error says beside its message: the route of a `bad_route`, the argument that is wrong.
    meta: Option<(&'static str, String)>,
    /// How long the server waits before it answers so.
    pub after: Duration,
}

impl TwirpError {
    /// An error that the method's own code makes.
    pub(crate) fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), meta: None, after: Duration::ZERO }
    }

    /// An error that passes through LiveKit's internal RPC layer, which puts a prefix before the message
    /// whatever the code. Callers must match on the code.
    pub(crate) fn internal_rpc(code: Code, msg: &str) -> Self {
        Self::new(code, format!("twirp error unknown: {msg}"))
    }

    pub(crate) fn denied() -> Self {
        Self::new(Code::Unauthenticated, "permissions denied")
    }

    /// Twirp's own error for an argument: LiveKit writes what is wrong where the argument's name belongs.
    pub(crate) fn argument(wrong: &str, detail: &str) -> Self {
        let error = Self::new(Code::InvalidArgument, format!("{wrong} {detail}"));
        Self { meta: Some(("argument", wrong.to_owned())), ..error }
    }

    /// No node holds the room or the participant that the call is for.
    pub(crate) fn no_response() -> Self {
        Self::internal_rpc(Code::Unavailable, "no response from servers").after(NO_RESPONSE)
    }

    /// No worker takes the recording.
    pub(crate) fn no_worker() -> Self {
        Self { after: NO_WORKER, ..Self::no_response() }
    }

    /// The node that holds it was asked, and did not answer.
    pub(crate) fn silent() -> Self {
        Self::internal_rpc(Code::DeadlineExceeded, "request timed out").after(NO_RESPONSE)
    }

    /// The same error, after so long.
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn bad_route(msg: impl Into<String>, verb: &str, path: &str) -> Self {
        let meta = Some(("twirp_invalid_route", format!("{verb} {path}")));
        Self { meta, ..Self::new(Code::BadRoute, msg) }
    }
}

/// The body of an error, in Twirp's order of fields.
#[derive(Serialize)]
struct Body {
    code: Code,
    msg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<BTreeMap<&'static str, String>>,
}

impl IntoResponse for TwirpError {
    fn into_response(self) -> Response {
        let meta = self.meta.map(|meta| BTreeMap::from([meta]));
        (self.code.status(), Json(Body { code: self.code, msg: self.msg, meta })).into_response()
    }
}
