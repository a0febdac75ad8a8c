//! The errors of sync, and the refusal of each.

use chassis::{
    db,
    status::{Reason, Refusal},
};
use tonic::Status;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] Refusal),
    /// A follower of the feed lags too far behind. The feed keeps no queue for a single follower.
    #[error("the follower is too slow")]
    TooSlow,
    #[error("the service is stopping")]
    Stopping,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // Both mean "reconnect", so they are 503 and not an error of ours.
        let retry = |message: &str| Self {
            message: message.to_owned(),
            ..Self::unavailable(Reason::ServiceUnavailable, 1)
        };
        match error {
            Error::Request(refusal) => refusal,
            Error::TooSlow => {
                retry("The changes came faster than they were read; reconnect with the last version.")
            }
            Error::Stopping => retry("The service is stopping; reconnect with the last version."),
            Error::Database(error) => db::refusal(&error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}
