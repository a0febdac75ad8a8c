//! The errors of a client.

use livekit_protocol::LeaveRequest;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the upgrade was refused: {0:?}")]
    Refused(Refusal),
    #[error("the server left instead of answering: {0:?}")]
    Left(Box<LeaveRequest>),
    #[error("the first message was neither join, reconnect nor leave")]
    UnexpectedMessage,
    #[error("the socket was closed")]
    Closed,
    #[error("timed out waiting for `{what}`; observed: {seen}")]
    TimedOut { what: String, seen: String },
    #[error("the server refused the request: {0:?}")]
    Request(Box<livekit_protocol::RequestResponse>),
    #[error("the URL is not valid: {0}")]
    Url(String),
    #[error(transparent)]
    WebSocket(Box<tokio_tungstenite::tungstenite::Error>),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("SDP or media failed: {0}")]
    Media(String),
}

/// An answer other than 101 to the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub body: String,
}

impl From<tokio_tungstenite::tungstenite::Error> for Error {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        use tokio_tungstenite::tungstenite::Error as Failure;
        match error {
            // An answer of the server, not a broken connection: tests compare its status.
            Failure::Http(response) => Self::Refused(Refusal {
                status: response.status().as_u16(),
                body: String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned(),
            }),
            Failure::Io(error) => Self::Io(error),
            Failure::ConnectionClosed | Failure::AlreadyClosed => Self::Closed,
            other => Self::WebSocket(Box::new(other)),
        }
    }
}

impl From<str0m::RtcError> for Error {
    fn from(error: str0m::RtcError) -> Self {
        Self::Media(error.to_string())
    }
}
