//! The refusals of nests, each defined once.

use chassis::status::{Reason, Refusal};

use crate::{error::Error, kinds, replay};

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
}

impl From<NestError> for Refusal {
    fn from(error: NestError) -> Self {
        match error {
            NestError::NoNest => kinds::nest::not_found(),
            NestError::Full => Self::new(Reason::RoomFull, "All places are taken; try again later."),
            NestError::NoKey => replay::no_key(),
            NestError::NotAllowed => {
                Self::new(Reason::Unauthenticated, "Your key may not do this in this room.")
            }
            NestError::NotInNest => {
                Self::invalid("participant", "you and the participant must both be in the room")
            }
        }
    }
}

impl From<NestError> for Error {
    fn from(error: NestError) -> Self {
        Self::refused(error)
    }
}
