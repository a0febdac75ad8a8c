//! The cause with which a diagnosis reports each reason. Reasons, and with them error codes, are added in status.rs.

use domain::diagnosis::Cause;

use super::Reason;

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unauthenticated | Reason::TokenTooLarge | Reason::OriginNotAllowed => {
                Self::Unauthenticated
            }
            Reason::NotParticipant | Reason::NotHost | Reason::NotAdmin => Self::NotParticipant,
            Reason::Kicked => Self::Kicked,
            Reason::Banned => Self::Banned,
            Reason::WaitingInLobby => Self::WaitingInLobby,
            Reason::Rejected => Self::Rejected,
            Reason::TooEarly => Self::TooEarly,
            Reason::SessionNotFound
            | Reason::RoomNotFound
            | Reason::NotificationNotFound
            | Reason::RecordingNotFound
            | Reason::InvalidSessionId => Self::RoomNotKnown,
            Reason::RoomNotActive => Self::RoomNotActive,
            Reason::RoomFull => Self::RoomFull,
            Reason::MeetingEnded => Self::MeetingEnded,
            Reason::SessionCancelled => Self::SessionCancelled,
            Reason::LivekitUnavailable => Self::LivekitUnreachable,
            Reason::DatabaseUnavailable => Self::DatabaseUnavailable,
            Reason::DatabaseBusy => Self::DatabaseBusy,
            Reason::ServiceUnavailable | Reason::RateLimited => Self::ServiceUnavailable,
            Reason::InvalidRequest
            | Reason::SlotTaken
            | Reason::IdempotencyKeyReused
            | Reason::SignatureUsed
            | Reason::RoomNotIdle
            | Reason::MeetingStarted
            | Reason::AlreadyRecording
            | Reason::RecordingStopped
            | Reason::RecordingNotFinished
            | Reason::UnsupportedEncoding
            | Reason::RecordingUnavailable
            | Reason::TooLarge
            | Reason::Internal => Self::Internal,
        }
    }
}
