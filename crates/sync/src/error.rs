//! Why not: what sync refuses, and what each is to a caller.

use chassis::{
    db,
    status::{Reason, Refusal},
};
use tonic::Status;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong.
    #[error(transparent)]
    Request(#[from] Refusal),
    /// A reader of the feed has not taken what waits for him: nothing is kept for one alone.
    #[error("the reader is too slow")]
    TooSlow,
    #[error("the service stops")]
    Stopping,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let again = |message: &str| Self {
            message: message.to_owned(),
            ..Self::unavailable(Reason::ServiceUnavailable, 1)
        };
        match error {
            Error::Request(refusal) => refusal,
            Error::TooSlow => {
                again("The changes came faster than they were read; come again with the last version.")
            }
            Error::Stopping => again("The service stops; come again with the last version."),
            Error::Database(error) => db::refusal(&error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
