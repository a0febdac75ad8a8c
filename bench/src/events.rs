//! A minimal listener of the listing's changes: a socket and a buffer of the current frame.
//!
//! It does not decode the chunks of HTTP/1.1. The gateway writes each event as one chunk, so the size of a chunk is
//! never read as a line of an event.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PATH: &str = "/api/v1/live/streams/events";

pub struct Events {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Events {
    /// Connects. From its return on, every change is received.
    pub async fn open(address: SocketAddr, bearer: &str) -> Result<Self> {
        let mut stream =
            TcpStream::connect(address).await.with_context(|| format!("no server answers at {address}"))?;
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {bearer}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut events = Self { stream, buffer: BytesMut::with_capacity(1024) };
        let head = events.until(b"\r\n\r\n").await?;
        ensure!(head.starts_with(b"HTTP/1.1 200 "), "{PATH} answered {}", String::from_utf8_lossy(&head));
        while field(&events.until(b"\n\n").await?, "id: ").is_none() {}
        Ok(events)
    }

    /// The `data` of the next event.
    pub async fn next(&mut self) -> Result<Bytes> {
        loop {
            let frame = self.until(b"\n\n").await?;
            if let Some(data) = field(&frame, "data: ") {
                return Ok(frame.slice_ref(data));
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> Result<Bytes> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.split_to(searched + at + end.len()).freeze());
            }
            searched = self.buffer.len().saturating_sub(end.len() - 1);
            self.buffer.reserve(512);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the gateway ended the stream of events");
            }
        }
    }
}

fn field<'a>(frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    frame.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))
}
