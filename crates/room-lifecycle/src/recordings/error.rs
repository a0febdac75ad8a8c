//! The refusals of recordings, each defined once.

use chassis::status::{Reason, Refusal};

use crate::error::Error;

/// Seconds. An operator must set up recording; an earlier retry does not help.
const NOT_SET_UP_RETRY_AFTER: &str = "3600";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    #[error("there is no such recording")]
    NoRecording,
    #[error("the room is being recorded")]
    AlreadyRecording,
    #[error("the room is not active")]
    NotActive,
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// `RECORDING_OUTPUT` is not set.
    #[error("RECORDING_OUTPUT is not set")]
    NotSetUp,
    /// LiveKit has no recorder for us, or did not answer.
    #[error("no recorder is available")]
    Unavailable,
    /// The row exists and its file does not.
    #[error("the file of the recording is missing")]
    NoFile,
    #[error("the recording was stopped before")]
    Stopped,
    /// Also for a nest that does not exist: callers who are not admins get the same answer.
    #[error("the caller is not an admin of the nest")]
    NotAdmin,
    #[error("the nest is over")]
    NoNest,
}

impl From<RecordingError> for Refusal {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::NoRecording => {
                Self::new(Reason::RecordingNotFound, "There is no such recording.")
            }
            RecordingError::NoFile => {
                Self::new(Reason::RecordingNotFound, "The file of this recording is not there any more.")
            }
            RecordingError::AlreadyRecording => {
                Self::new(Reason::AlreadyRecording, "The room is being recorded; stop that recording first.")
            }
            RecordingError::NotActive => {
                Self::new(Reason::RoomNotActive, "The room is not on; open it before it is recorded.")
            }
            RecordingError::KeyReused => Self::new(
                Reason::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request; use a new one.",
            ),
            RecordingError::Stopped => Self::new(Reason::RecordingStopped, "Already stopped"),
            RecordingError::NotAdmin => {
                Self::invalid("id", "There is no such room, or you are not an admin of it.")
            }
            RecordingError::NoNest => Self::invalid("id", "The room is over."),
            RecordingError::NotSetUp => Self::new(
                Reason::RecordingUnavailable,
                "Recording is not set up here. Ask the operator of this service for it.",
            )
            .with("retry_after", NOT_SET_UP_RETRY_AFTER),
            RecordingError::Unavailable => Self::unavailable(Reason::RecordingUnavailable, 10),
        }
    }
}

impl From<RecordingError> for Error {
    fn from(error: RecordingError) -> Self {
        Self::refused(error)
    }
}
