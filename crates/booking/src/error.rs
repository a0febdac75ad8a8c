//! The errors of the booking service, and the refusal of each.

use chassis::{
    db::{self, DatabaseError},
    lifecycle::TaskError,
    status::{Reason, Refusal},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tonic::Status;

use crate::policy::{MAX_OPEN, MAX_PER_PAIR};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] Refusal),
    #[error("the booking does not exist")]
    NotFound,
    #[error("the caller is not a party")]
    NotParticipant,
    #[error("the caller is not the host")]
    NotHost,
    #[error("the caller was kicked")]
    Kicked,
    #[error("only services and admins may book")]
    NotAdmin,
    #[error("the host or the guest has another booking at that time")]
    SlotTaken,
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    #[error("the start is out of range at {now}")]
    StartOutOfRange { now: OffsetDateTime },
    #[error("the creator has too many open bookings")]
    TooManyOpen,
    #[error("the pair has too many bookings within an hour")]
    TooManyForPair { retry_after: i64 },
    #[error("the meeting has started")]
    Started,
    #[error("the meeting has ended")]
    Ended,
    #[error("the booking is cancelled")]
    Cancelled,
    #[error("the link was revoked")]
    LinkWithdrawn,
    #[error("the caller is not an admin")]
    AdminsOnly,
    #[error("the caller has no such notification")]
    NotificationNotFound,
    /// Other writers changed the booking during each attempt.
    #[error("the booking changed during each attempt")]
    Contended,
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match db::constraint(&error) {
            Some("session_participants_no_overlap") => Self::SlotTaken,
            _ => Self::Database(error),
        }
    }
}

impl DatabaseError for Error {
    fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Request(refusal) => refusal,
            Error::NotFound => Self::new(Reason::SessionNotFound, "There is no booking with this id."),
            Error::NotParticipant => Self::new(Reason::NotParticipant, "Only the host and the guest may do this."),
            Error::NotHost => Self::new(Reason::NotHost, "Only the host may end the meeting."),
            Error::Kicked => Self::new(
                Reason::Kicked,
                "You were removed from this meeting; only its host can change or cancel it.",
            ),
            Error::NotAdmin => Self::new(Reason::NotAdmin, "Bookings are made by an administrator here."),
            Error::SlotTaken => Self::new(
                Reason::SlotTaken,
                "The host or the guest has another booking at that time; choose another one.",
            ),
            Error::KeyReused => Self::new(
                Reason::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request; use a new one.",
            ),
            Error::StartOutOfRange { now } => Self::invalid(
                "scheduledAt",
                "must be between 5 minutes ago and one year from now",
            )
            .with("now", now.format(&Rfc3339).unwrap_or_default()),
            Error::TooManyOpen => Self::new(
                Reason::RateLimited,
                format!("You have {MAX_OPEN} open bookings, which is the most; cancel one or wait until one is over."),
            )
            .with("retry_after", "3600"),
            Error::TooManyForPair { retry_after } => Self::new(
                Reason::RateLimited,
                format!("These two people were booked {MAX_PER_PAIR} times within the hour; try again later."),
            )
            .with("retry_after", retry_after.max(1).to_string()),
            Error::Started => Self::new(
                Reason::MeetingStarted,
                "The meeting has opened. It can be cancelled, or extended until a participant joins.",
            ),
            Error::Ended => Self::new(Reason::MeetingEnded, "The meeting has ended."),
            Error::Cancelled => Self::new(Reason::SessionCancelled, "The booking is cancelled."),
            Error::LinkWithdrawn => {
                Self::new(Reason::Unauthenticated, "This link was revoked. Open the booking to get a new one.")
            }
            Error::AdminsOnly => Self::new(Reason::NotAdmin, "Only administrators see this."),
            Error::NotificationNotFound => Self::new(
                Reason::NotificationNotFound,
                "You have no notification with this id.",
            ),
            Error::Contended => Self::unavailable(Reason::DatabaseBusy, 1),
            Error::Task(TaskError::Deadline | TaskError::Stopping) => Self::unavailable(Reason::ServiceUnavailable, 1),
            Error::Task(TaskError::Panicked) => Self::internal(),
            Error::Database(error) => db::refusal(&error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
