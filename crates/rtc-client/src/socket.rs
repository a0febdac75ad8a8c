//! One signalling WebSocket.

use futures::{SinkExt, StreamExt};
use http::Request;
use livekit_protocol::{SignalRequest, SignalResponse, signal_request, signal_response};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::Error;

/// The next event of a socket.
pub enum Incoming {
    Message(Box<signal_response::Message>),
    /// The close code, if there was a close frame.
    Closed(Option<u16>),
}

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    json: bool,
}

impl Socket {
    pub async fn connect(request: Request<()>, json: bool) -> Result<Self, Error> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let usual = if request.uri().scheme_str() == Some("wss") { 443 } else { 80 };
        let port = request.uri().port_u16().unwrap_or(usual);
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        let (stream, _) = tokio_tungstenite::client_async_tls(request, tcp).await?;
        Ok(Self { stream, json })
    }

    pub async fn send(&mut self, message: signal_request::Message) -> Result<(), Error> {
        let request = SignalRequest { message: Some(message) };
        let frame = if self.json {
            let text = serde_json::to_string(&request).map_err(|error| Error::Media(error.to_string()))?;
            Message::text(text)
        } else {
            Message::binary(request.encode_to_vec())
        };
        self.send_frame(frame).await
    }

    /// Sends any frame, as a client that violates the protocol would.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), Error> {
        Ok(self.stream.send(frame).await?)
    }

    pub async fn send_garbage(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.send_frame(Message::Binary(Bytes::from(bytes))).await
    }

    pub async fn close(&mut self) -> Result<(), Error> {
        Ok(self.stream.close(None).await?)
    }

    /// Returns the next message. The library answers pings; a message that cannot be decoded ends the socket.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let response = match self.stream.next().await {
                Some(Ok(Message::Binary(bytes))) => SignalResponse::decode(bytes).ok(),
                Some(Ok(Message::Text(text))) => serde_json::from_str::<SignalResponse>(&text).ok(),
                Some(Ok(Message::Close(frame))) => {
                    return Incoming::Closed(frame.map(|frame| frame.code.into()));
                }
                // Pings and pongs.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Incoming::Closed(None),
            };
            match response.and_then(|response| response.message) {
                Some(message) => return Incoming::Message(Box::new(message)),
                None => return Incoming::Closed(None),
            }
        }
    }
}
