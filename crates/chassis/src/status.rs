//! The closed set of reasons with which Greenroom refuses requests, over gRPC and over HTTP.
//!
//! A service converts its error enum into a [`Refusal`], and the refusal into a `tonic::Status` whose
//! `google.rpc.ErrorInfo` carries the code and the facts. The gateway converts it back and writes the body.
//! Internal details (SQL, hosts, keys) never become part of a refusal.

mod cause;
mod fields;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
};

use domain::{OwnerKind, field::FieldError};
use serde::{Serialize, Serializer};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use self::fields::Fields;

/// `ErrorInfo.domain` of all our errors.
pub const DOMAIN: &str = "greenroom";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $grpc:ident, $http:literal;)+) => {
        /// A machine-readable reason. The string is the `code` of HTTP bodies and the `reason` of `ErrorInfo`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            #[must_use]
            pub const fn grpc(self) -> Code {
                match self { $(Self::$variant => Code::$grpc,)+ }
            }

            #[must_use]
            pub const fn http(self) -> u16 {
                match self { $(Self::$variant => $http,)+ }
            }
        }

        impl Serialize for Reason {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }

        impl FromStr for Reason {
            type Err = ();

            fn from_str(code: &str) -> Result<Self, ()> {
                match code { $($code => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

reasons! {
    /// Facts: `field`.
    InvalidRequest = "invalid_request", InvalidArgument, 400;
    InvalidSessionId = "invalid_session_id", InvalidArgument, 400;
    RecordingStopped = "recording_stopped", FailedPrecondition, 400;
    RecordingNotFinished = "recording_not_finished", FailedPrecondition, 400;
    Unauthenticated = "unauthenticated", Unauthenticated, 401;
    NotParticipant = "not_participant", PermissionDenied, 403;
    NotHost = "not_host", PermissionDenied, 403;
    NotAdmin = "not_admin", PermissionDenied, 403;
    OriginNotAllowed = "origin_not_allowed", PermissionDenied, 403;
    Kicked = "kicked", PermissionDenied, 403;
    Banned = "banned", PermissionDenied, 403;
    WaitingInLobby = "waiting_in_lobby", FailedPrecondition, 403;
    Rejected = "rejected", PermissionDenied, 403;
    /// Facts: `opens_at`.
    TooEarly = "too_early", FailedPrecondition, 403;
    SessionNotFound = "session_not_found", NotFound, 404;
    RoomNotFound = "room_not_found", NotFound, 404;
    NotificationNotFound = "notification_not_found", NotFound, 404;
    RecordingNotFound = "recording_not_found", NotFound, 404;
    SlotTaken = "slot_taken", AlreadyExists, 409;
    IdempotencyKeyReused = "idempotency_key_reused", AlreadyExists, 409;
    SignatureUsed = "signature_used", AlreadyExists, 409;
    /// Facts: `session_id`, `starts_at`.
    RoomNotIdle = "room_not_idle", FailedPrecondition, 409;
    RoomNotActive = "room_not_active", FailedPrecondition, 409;
    RoomFull = "room_full", FailedPrecondition, 409;
    MeetingStarted = "meeting_started", FailedPrecondition, 409;
    AlreadyRecording = "already_recording", AlreadyExists, 409;
    MeetingEnded = "meeting_ended", FailedPrecondition, 410;
    SessionCancelled = "session_cancelled", FailedPrecondition, 410;
    TooLarge = "too_large", OutOfRange, 413;
    TokenTooLarge = "token_too_large", InvalidArgument, 431;
    UnsupportedEncoding = "unsupported_encoding", InvalidArgument, 415;
    /// Facts: `retry_after` (seconds).
    RateLimited = "rate_limited", ResourceExhausted, 429;
    Internal = "internal", Internal, 500;
    /// The five below: `retry_after` (seconds), and the same as a `Retry-After` header.
    LivekitUnavailable = "livekit_unavailable", Unavailable, 503;
    DatabaseUnavailable = "database_unavailable", Unavailable, 503;
    DatabaseBusy = "database_busy", Unavailable, 503;
    ServiceUnavailable = "service_unavailable", Unavailable, 503;
    RecordingUnavailable = "recording_unavailable", Unavailable, 503;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A reason, what the caller can do about it, and typed facts (`opens_at`, `field`, `retry_after` …).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    pub facts: BTreeMap<String, String>,
    /// All wrong fields. The first one's name and message are the fact `field` and the refusal's message.
    pub errors: Vec<FieldError>,
}

impl Refusal {
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), facts: BTreeMap::new(), errors: Vec::new() }
    }

    /// 400 for one field of the request.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::about(Reason::InvalidRequest, field, message)
    }

    /// A refusal because of one field of the request.
    #[must_use]
    pub fn about(reason: Reason, field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let errors = vec![FieldError { field: field.to_owned(), message: message.clone() }];
        Self { errors, ..Self::new(reason, message).with("field", field) }
    }

    /// 400 for all of these fields. None when no field is wrong.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Option<Self> {
        let FieldError { field, message } = errors.first()?.clone();
        Some(Self { errors, ..Self::invalid(&field, message) })
    }

    /// Appends the other refusal's wrong fields to this one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.errors.extend(other.errors);
        self
    }

    /// A refusal that asks to retry later; `seconds` becomes `retry_after`.
    #[must_use]
    pub fn unavailable(reason: Reason, seconds: u64) -> Self {
        let message = match reason {
            Reason::LivekitUnavailable => "The video server does not answer; try again in a moment.",
            Reason::DatabaseUnavailable => "The database does not answer; try again in a moment.",
            Reason::DatabaseBusy => "The database is busy; try again in a moment.",
            Reason::RecordingUnavailable => "Nothing can be recorded right now; try again in a moment.",
            _ => "The service is not available right now; try again in a moment.",
        };
        Self::new(reason, message).with("retry_after", seconds.to_string())
    }

    /// A failure of ours. Its cause is in the log, with the request id.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Reason::Internal, "Something went wrong on our side; the request id finds it in our logs.")
    }

    #[must_use]
    pub fn with(mut self, fact: &str, value: impl Into<String>) -> Self {
        self.facts.insert(fact.to_owned(), value.into());
        self
    }

    /// Logs that a user was refused, once, where it was decided. The request id in the answer finds this line.
    #[must_use]
    pub fn logged(self, owner_kind: OwnerKind, owner_id: &str, user_id: &str) -> Self {
        tracing::info!(
            code = self.reason.code(),
            owner.kind = owner_kind.as_str(),
            owner.id = owner_id,
            user.id = user_id,
            "a join was refused"
        );
        self
    }

    /// Reads another service's status. A status without our reason is a failure of that service.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        // A proxy or a library may attach an ErrorInfo of its own.
        let ours = status.get_details_error_info().filter(|info| info.domain == DOMAIN);
        if let Some(info) = ours
            // A reason that this program does not know comes from a newer service: its status decides.
            && let Ok(reason) = info.reason.parse()
        {
            return Self {
                reason,
                message: status.message().to_owned(),
                facts: info.metadata.into_iter().collect(),
                errors: field_errors(status),
            };
        }
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
                Self::unavailable(Reason::ServiceUnavailable, 1)
            }
            // Includes OUT_OF_RANGE: the answer is too large for us, which is not the caller's fault.
            _ => Self::internal(),
        }
    }
}

fn field_errors(status: &Status) -> Vec<FieldError> {
    let violations = status.get_details_bad_request().map(|details| details.field_violations);
    let errors = violations.into_iter().flatten();
    errors.map(|violation| FieldError { field: violation.field, message: violation.description }).collect()
}

/// Wrong fields are `google.rpc.BadRequest`, beside the `google.rpc.ErrorInfo` of every refusal.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details =
            ErrorDetails::with_error_info(refusal.reason.code(), DOMAIN, HashMap::from_iter(refusal.facts));
        for FieldError { field, message } in refusal.errors {
            details.add_bad_request_violation(field, message);
        }
        Self::with_error_details(refusal.reason.grpc(), refusal.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire_with_its_facts() {
        for &reason in Reason::ALL {
            let refusal = Refusal::new(reason, "why").with("opens_at", "2026-01-01T00:00:00Z");
            assert_eq!(Refusal::from_status(&Status::from(refusal.clone())), refusal);
            assert_eq!(reason.code().parse(), Ok(reason));
        }
    }

    #[test]
    fn wrong_fields_survive_the_wire_in_their_order() {
        let refusal =
            Refusal::invalid("title", "is too long").and(Refusal::invalid("guest.name", "is empty"));
        let status = Status::from(refusal.clone());
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let written: Vec<_> =
            violations.iter().map(|one| (one.field.as_str(), one.description.as_str())).collect();
        assert_eq!(written, [("title", "is too long"), ("guest.name", "is empty")]);
        let read = Refusal::from_status(&status);
        assert_eq!((read.facts["field"].as_str(), read.message.as_str()), ("title", "is too long"));
        assert_eq!(read, refusal);
    }

    #[test]
    fn status_without_our_reason_hides_its_text() {
        let refusal = Refusal::from_status(&Status::unknown("select * from secrets"));
        assert_eq!(refusal.reason, Reason::Internal);
        assert!(!refusal.message.contains("secrets"));
    }

    #[test]
    fn out_of_range_is_too_large_only_with_our_reason() {
        let reason_of = |status: Status| Refusal::from_status(&status).reason;
        assert_eq!(reason_of(Refusal::new(Reason::TooLarge, "Too large.").into()), Reason::TooLarge);
        assert_eq!(reason_of(Status::out_of_range("decoded message length too large")), Reason::Internal);
        assert_eq!(reason_of(Status::resource_exhausted("ENHANCE_YOUR_CALM")), Reason::ServiceUnavailable);
    }
}
