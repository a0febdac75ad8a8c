//! One task for each WebSocket.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, WebSocket, close_code},
};
use livekit_protocol::{
    SignalRequest, SignalResponse, signal_request::Message as Request, signal_response::Message as Response,
};
use prost::Message as _;
use tokio::time::MissedTickBehavior;

use super::slots::Slot;
use crate::{
    LiveKitDev,
    media::{Frame, Incoming, Waiting},
    state::participants::Session,
};

/// How often the server pings, as the real one does.
const PING: Duration = Duration::from_secs(10);

/// How long a client may take to read one message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to close after the server has.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Socket {
    pub server: LiveKitDev,
    pub session: Session,
    /// Requests carry it, so that the end of an old socket does not end a session that has resumed.
    pub connection: u64,
    pub waiting: Waiting,
    pub slot: Slot,
}

/// How messages are written: as the client writes its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Binary,
    Json,
}

/// The connection ends.
pub(super) struct Ended;

impl Socket {
    pub(crate) async fn run(mut self, mut stream: WebSocket) {
        // Only now: the upgrade is complete.
        self.slot.joined();
        // The engine let go of the connection, the client closed, or its input was bad.
        let _ended = self.pump(&mut stream).await;
        let closed = Incoming::Closed { session: self.session.clone(), connection: self.connection };
        // Without an engine there is no session to end.
        let _ = self.server.media().receive(closed).await;
    }

    async fn pump(&mut self, stream: &mut WebSocket) -> Result<(), Ended> {
        let mut format = Format::Binary;
        let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        // After a slow write one ping is enough.
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.waiting.recv() => match message {
                    Some(Frame::Message(message)) => write(stream, encode(*message, format)).await?,
                    Some(Frame::Cut) => return Err(Ended),
                    None => return close(stream).await,
                },
                frame = stream.recv() => {
                    // An error of the socket ends it, as the end of the stream does.
                    let frame = frame.and_then(Result::ok).ok_or(Ended)?;
                    if let Some(request) = decode(frame, &mut format)? {
                        self.pass_on(request).await?;
                    }
                }
                _ = pings.tick() => write(stream, Message::Ping(Bytes::new())).await?,
            }
        }
    }

    async fn pass_on(&self, request: Request) -> Result<(), Ended> {
        let (session, connection) = (self.session.clone(), self.connection);
        let incoming = Incoming::Request { session, connection, request: Box::new(request) };
        self.server.media().receive(incoming).await.map_err(|_| Ended)
    }
}

/// Until the client has closed as well: a connection that ends with unread bytes takes the last message with it.
pub(super) async fn close(stream: &mut WebSocket) -> Result<(), Ended> {
    let close = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    write(stream, Message::Close(Some(close))).await?;
    let closed = async { while stream.recv().await.is_some_and(|frame| frame.is_ok()) {} };
    // A client that does not close is cut off.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
    Err(Ended)
}

pub(super) async fn write(stream: &mut WebSocket, message: Message) -> Result<(), Ended> {
    match tokio::time::timeout(WRITE_TIMEOUT, stream.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ended),
    }
}

pub(super) fn encode(message: Response, format: Format) -> Message {
    let response = SignalResponse { message: Some(message) };
    match format {
        Format::Binary => Message::Binary(response.encode_to_vec().into()),
        // Every SignalResponse is JSON.
        Format::Json => Message::Text(serde_json::to_string(&response).unwrap_or_default().into()),
    }
}

/// A request without a message is ignored, as one of a newer client would be.
fn decode(frame: Message, format: &mut Format) -> Result<Option<Request>, Ended> {
    match frame {
        Message::Binary(bytes) => {
            // The answers follow the latest message: some clients begin in one form and go on in the other.
            *format = Format::Binary;
            SignalRequest::decode(bytes).map(|request| request.message).map_err(|_| Ended)
        }
        Message::Text(text) => {
            *format = Format::Json;
            serde_json::from_str::<SignalRequest>(&text).map(|request| request.message).map_err(|_| Ended)
        }
        Message::Close(_) => Err(Ended),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
    }
}
