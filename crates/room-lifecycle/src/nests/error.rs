//! The refusals of nests, each defined once.

use chassis::status::{Reason, Refusal};

use super::link::NotAKey;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NestError {
    /// Also for a nest that has ended.
    #[error("there is no such nest")]
    NoNest,
    #[error("the nest is full")]
    Full,
    #[error("the caller has no valid public key")]
    NoKey,
    #[error("the caller may not do this")]
    NotAllowed,
    #[error("caller or participant is not in the nest")]
    NotInNest,
    #[error(transparent)]
    Link(#[from] NotAKey),
}

impl From<NestError> for Refusal {
    fn from(error: NestError) -> Self {
        match error {
            NestError::NoNest => Self::new(Reason::RoomNotFound, "Room not found"),
            NestError::Full => Self::new(Reason::RoomFull, "All places are taken; try again later."),
            NestError::NoKey => Self::new(Reason::Unauthenticated, "Sign the request with a Nostr key."),
            NestError::NotAllowed => {
                Self::new(Reason::Unauthenticated, "Your key may not do this in this room.")
            }
            NestError::NotInNest => {
                Self::invalid("participant", "you and the participant must both be in the room")
            }
            NestError::Link(error) => {
                tracing::error!(%error, "encoding the link of a nest failed");
                Self::internal()
            }
        }
    }
}

impl From<NestError> for Error {
    fn from(error: NestError) -> Self {
        Self::refused(error)
    }
}
