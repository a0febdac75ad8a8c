//! A connection that a handler can observe while hyper reads and writes it.
//!
//! A client may close its half of a connection after a whole request and still wait for the answer, so hyper must not
//! end the connection then. A client that has disconnected looks the same until something is written to it. [`Peer`]
//! reports the end of the client's half, so that a long answer can test the connection by a write.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::TcpStream,
};

/// How often a connection is checked while unread bytes of its next request hide what follows.
const HIDDEN_CHECK: Duration = Duration::from_millis(500);

/// The client's end of a connection: an extension of each request that [`super::serve`] passes on.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Mutex<TcpStream>>);

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    pub(super) fn io(&self) -> Io {
        Io(Arc::clone(&self.0))
    }

    /// Completes when the client sends nothing more: it closed its half of the connection, or disconnected.
    ///
    /// Only for handlers that have started their answer: it reads from the connection, and must be awaited in the task that
    /// serves the connection.
    pub async fn finished(&self) {
        while !poll_fn(|cx| self.poll_finished(cx)).await {
            // A peek returns the same unread bytes again, so without a pause this loop would never rest.
            tokio::time::sleep(HIDDEN_CHECK).await;
        }
    }

    /// Ready with false: there are unread bytes, so it is unknown what follows them.
    fn poll_finished(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let stream = locked(&self.0);
        let mut byte = [0];
        match ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut byte))) {
            Ok(0) | Err(_) => Poll::Ready(true),
            Ok(_) => {
                // Unread bytes hide the end of the stream from a peek. The readiness flag shows it without
                // reading them.
                let ready = stream.ready(Interest::READABLE).now_or_never();
                Poll::Ready(ready.is_some_and(|ready| ready.is_ok_and(Ready::is_read_closed)))
            }
        }
    }
}

/// Locks the stream. Never contended: one task does everything for a connection.
fn locked(stream: &Mutex<TcpStream>) -> MutexGuard<'_, TcpStream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stream that hyper reads and writes.
pub(super) struct Io(Arc<Mutex<TcpStream>>);

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *locked(&self.0)).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *locked(&self.0)).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        locked(&self.0).is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *locked(&self.0)).poll_shutdown(cx)
    }
}
