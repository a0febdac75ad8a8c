//! Why there is no token.

use chassis::{
    db,
    status::{Reason, Refusal},
};
use time::format_description::well_known::Rfc3339;

use crate::decision::Refused;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the request is refused: {0}")]
    Request(Refusal),
    #[error("no such session")]
    SessionNotFound,
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The refusal that room-lifecycle returned, passed on unchanged.
    #[error("room-lifecycle refused: {0}")]
    Room(Refusal),
    /// The room changed after each `EnsureRoom`.
    #[error("the room kept changing while it was ensured")]
    Unsettled,
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("failed to encode the claims: {0}")]
    Claims(#[from] serde_json::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Request(refusal) | Error::Room(refusal) => refusal,
            Error::SessionNotFound => Self::new(Reason::SessionNotFound, "There is no such session."),
            Error::Refused(refused) => refused.into(),
            Error::Unsettled => Self::unavailable(Reason::LivekitUnavailable, 1),
            Error::Database(error) => db::refusal(&error),
            Error::Claims(error) => {
                tracing::error!(%error, "failed to encode token claims");
                Self::internal()
            }
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoLiveRoom => Self::new(Reason::RoomNotFound, "There is no such live room."),
            Refused::NoNest => Self::new(Reason::RoomNotFound, "Room not found"),
            Refused::NotInNest => Self::new(Reason::NotParticipant, "Join the nest first."),
            Refused::NotActive => Self::new(Reason::RoomNotActive, "Nothing is on in this live room."),
            Refused::NoSeat => Self::new(Reason::NotParticipant, "Join the live room first."),
            Refused::Waiting => {
                Self::new(Reason::WaitingInLobby, "You wait in the lobby until the host lets you in.")
            }
            Refused::Rejected => Self::new(Reason::Rejected, "The host did not let you in."),
            Refused::Banned => Self::new(Reason::Banned, "You are banned from this live room."),
            Refused::NotParticipant => {
                Self::new(Reason::NotParticipant, "Only the host and the guest of this session can join it.")
            }
            Refused::Cancelled => Self::new(Reason::SessionCancelled, "This session was cancelled."),
            Refused::Ended => Self::new(Reason::MeetingEnded, "This meeting has ended."),
            Refused::Kicked => Self::new(Reason::Kicked, "You were removed from this meeting."),
            Refused::TooEarly(opens_at) => {
                let refusal =
                    Self::new(Reason::TooEarly, "This meeting is not open yet; come back when it opens.");
                match opens_at.format(&Rfc3339) {
                    Ok(opens_at) => refusal.with("opens_at", opens_at),
                    Err(_) => refusal, // RFC 3339 has no years after 9999
                }
            }
        }
    }
}
