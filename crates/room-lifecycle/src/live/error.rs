//! The refusals of live rooms, each defined once.

use chassis::status::{Reason, Refusal};
use domain::LiveSessionId;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// Also when the caller may not read the room.
    #[error("there is no such live room")]
    NoRoom,
    #[error("the room has another open session")]
    NotIdle { session: LiveSessionId, starts_at: OffsetDateTime },
    #[error("the room has no session that can be joined")]
    NotActive,
    #[error("the session is live")]
    Started,
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    #[error("the session changed during every attempt")]
    Contended,
    #[error("all seats are taken")]
    Full,
    #[error("the caller is banned from the room")]
    Banned,
    #[error("the caller was removed from the session")]
    Kicked,
    #[error("the caller was rejected in the lobby")]
    Rejected,
    #[error("the caller has no seat")]
    NoSeat,
}

impl From<LiveError> for Refusal {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::NoRoom => Self::new(Reason::RoomNotFound, "There is no such live room."),
            LiveError::NotIdle { session, starts_at } => Self::new(
                Reason::RoomNotIdle,
                "The room has another session that is not over; end or cancel it first.",
            )
            .with("session_id", session.to_string())
            .with("starts_at", starts_at.format(&Rfc3339).unwrap_or_default()),
            LiveError::NotActive => Self::new(Reason::RoomNotActive, "Nothing is on in this room now."),
            LiveError::Started => {
                Self::new(Reason::MeetingStarted, "The session is live; end it instead of cancelling it.")
            }
            LiveError::KeyReused => Self::new(
                Reason::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request; use a new one.",
            ),
            LiveError::Contended => Self::unavailable(Reason::DatabaseBusy, 1),
            LiveError::Full => Self::new(Reason::RoomFull, "All places are taken; try again later."),
            LiveError::Banned => Self::new(Reason::Banned, "You are banned from this room."),
            LiveError::Kicked => Self::new(Reason::Kicked, "You were removed from this session."),
            LiveError::NoSeat => Self::new(Reason::NotParticipant, "Join the live room first."),
            LiveError::Rejected => Self::new(Reason::Rejected, "The host did not let you in."),
        }
    }
}

impl From<LiveError> for Error {
    fn from(error: LiveError) -> Self {
        Self::refused(error)
    }
}
