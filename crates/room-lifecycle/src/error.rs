//! The errors of this service, and the refusal for each.

use chassis::{
    db::{self, DatabaseError},
    lifecycle::TaskError,
    service::StartError,
    status::{Reason, Refusal},
};
use domain::{EndedReason, OwnerKind};
use tonic::{Response, Status};

use crate::livekit::LiveKitError;

/// The result of an RPC.
pub(crate) type RpcResult<T> = Result<Response<T>, Status>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    LiveKit(#[from] LiveKitError),
    #[error("the HTTP client for LiveKit could not be created: {0}")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A refusal of one feature. Its cause is for logs, and for callers that act on it ([`Self::cause`]).
    #[error("{cause}")]
    Refused { cause: Box<dyn std::error::Error + Send + Sync>, refusal: Refusal },
    /// An error of one feature that no request can avoid.
    #[error("{0}")]
    Internal(Box<dyn std::error::Error + Send + Sync>),
    #[error("the output of recordings: {0}")]
    Output(#[from] object_store::Error),
    #[error("{0}")]
    Request(#[from] Refusal),
    #[error("there is no such session")]
    NoSession,
    #[error("the {kind:?} is not open: {reason:?}")]
    Closed { kind: OwnerKind, reason: Option<EndedReason>, refusal: Refusal },
    #[error("the caller is not a party")]
    NotParticipant,
    #[error("the caller is not the host")]
    NotHost,
    #[error("the room kept changing while it was checked")]
    Unsettled,
    #[error("a call about a participant has not succeeded yet")]
    Unfinished,
}

impl Error {
    /// The error for a feature's own refusal. Each feature converts its refusals with it, so that this file knows no
    /// feature.
    pub(crate) fn refused<C>(cause: C) -> Self
    where
        C: std::error::Error + Clone + Into<Refusal> + Send + Sync + 'static,
    {
        Self::Refused { refusal: cause.clone().into(), cause: Box::new(cause) }
    }

    /// The refusal of a feature that this error is, if it is one of that feature.
    pub(crate) fn cause<C: std::error::Error + 'static>(&self) -> Option<&C> {
        match self {
            Self::Refused { cause, .. } => cause.downcast_ref(),
            _ => None,
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

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => Self::Database(error),
            other => Self::Setting(other.to_string()),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => db::refusal(&error),
            Error::LiveKit(error) => {
                tracing::warn!(%error, "a request failed because of LiveKit");
                Self::unavailable(Reason::LivekitUnavailable, 2)
            }
            Error::Http(_) | Error::Task(TaskError::Panicked) => Self::internal(),
            Error::Task(TaskError::Deadline) | Error::Unsettled | Error::Unfinished => {
                Self::unavailable(Reason::LivekitUnavailable, 1)
            }
            Error::Task(TaskError::Stopping) => Self::unavailable(Reason::ServiceUnavailable, 1),
            Error::Closed { refusal, .. } | Error::Refused { refusal, .. } | Error::Request(refusal) => {
                refusal
            }
            Error::Internal(error) => {
                tracing::error!(%error, "a request failed because of an internal error");
                Self::internal()
            }
            Error::Output(error) => {
                tracing::warn!(%error, "the output of recordings failed");
                Self::unavailable(Reason::RecordingUnavailable, 5)
            }
            Error::NoSession => Self::new(Reason::SessionNotFound, "There is no such session."),
            Error::NotParticipant => Self::new(Reason::NotParticipant, "Only the two parties may do this."),
            Error::NotHost => Self::new(Reason::NotHost, "Only the host may do this."),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

/// The outcome of a statement whose result is not needed.
pub(crate) fn done<T>(outcome: sqlx::Result<T>) -> Result<(), Error> {
    Ok(outcome.map(drop)?)
}

/// Returns the first failure of independent steps, and logs the others.
pub(crate) fn first_failure(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut failures = outcomes.into_iter().filter_map(Result::err);
    let first = failures.next();
    for error in failures {
        tracing::warn!(%error, "another step of the pass failed");
    }
    first.map_or(Ok(()), Err)
}

/// Returns the first failure; one of the room before one of a participant.
pub(crate) fn one_failure(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let failures = outcomes.into_iter().filter_map(Result::err);
    let chosen = failures.reduce(|first, next| if matches!(first, Error::Unfinished) { next } else { first });
    chosen.map_or(Ok(()), Err)
}
