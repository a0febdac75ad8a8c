//! A connection that fails when its client stalls.
//!
//! hyper waits forever until an answer is read, and its only timer treats an idle connection like one with half a request.
//! Here an idle connection may last and half a request may not. Only a write that waits is timed, so a stream of events
//! may be silent or endless.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// The side that a connection waits for: odd while a request is being answered, even while the next one is awaited.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// Marks that a request is being answered, until the result is dropped.
    pub(super) fn answer(&self) -> Answering {
        // Relaxed is enough: one task does everything for a connection. The atomic only makes the type
        // `Send`.
        self.0.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }
}

pub(super) struct Answering(Turn);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct Watched<S> {
    stream: S,
    turn: Turn,
    /// The turn in which the current head began.
    head_of: usize,
    head: StallTimer,
    write: StallTimer,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, turn: Turn, head_within: Duration, write_within: Duration) -> Self {
        let (mut head, write) = (StallTimer::new(head_within), StallTimer::new(write_within));
        head.begin(); // the first request is timed from the connection on
        Self { stream, turn, head_of: 0, head, write }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let turn = this.turn.0.load(Ordering::Relaxed);
        // The head that began in an earlier turn is complete, so its timer is over.
        if turn != this.head_of {
            (this.head_of, this.head.until) = (turn, None);
        }
        if read.is_pending() {
            // Without a begun head the connection is idle, which hyper's own timer limits (`idle_timeout`).
            return this.head.or_timed_out(cx);
        }
        // In an odd turn the bytes belong to the body of the current request.
        if turn.is_multiple_of(2) && buf.filled().len() > before {
            this.head.begin();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Polls `write`, and fails when it has waited for too long.
    fn progress<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = self.get_mut();
        let written = write(Pin::new(&mut this.stream), cx);
        if written.is_pending() {
            this.write.begin();
            return this.write.or_timed_out(cx);
        }
        // Any progress ends the wait: a slow reader is served as long as it reads.
        this.write.until = None;
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress(cx, AsyncWrite::poll_shutdown)
    }
}

/// Limits how long a client is waited for. The timer is created for the first wait and kept for the next.
struct StallTimer {
    limit: Duration,
    until: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    fn new(limit: Duration) -> Self {
        Self { limit, until: None, timer: None }
    }

    fn begin(&mut self) {
        // Only the first call sets the end. A client that sends one byte at a time must not move it.
        self.until.get_or_insert_with(|| Instant::now() + self.limit);
    }

    /// Pending, or an error when the wait exceeds the limit.
    fn or_timed_out<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(until) = self.until else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_hours(1);

    fn pair(head_within: Duration, write_within: Duration) -> (DuplexStream, Watched<DuplexStream>, Turn) {
        let (client, server) = duplex(16);
        let turn = Turn::default();
        (client, Watched::new(server, turn.clone(), head_within, write_within), turn)
    }

    fn kind<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
        outcome.err().map(|error| error.kind())
    }

    #[tokio::test]
    async fn unread_write_times_out_and_slow_read_does_not() {
        let limit = Duration::from_secs(3);
        let (mut client, mut server, _) = pair(NEVER, limit);
        let slow = tokio::spawn(async move {
            for _ in 0..8 {
                tokio::time::sleep(limit / 6).await;
                client.read_exact(&mut [0; 16]).await.unwrap();
            }
            client
        });
        server.write_all(&[0; 8 * 16]).await.unwrap();
        let _unread = slow.await.unwrap();
        let ended = tokio::time::timeout(LONG, server.write_all(&[0; 17])).await.unwrap();
        assert_eq!(kind(ended), Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn silence_between_writes_is_not_timed() {
        let (mut client, mut server, _) = pair(NEVER, SOON);
        for _ in 0..2 {
            server.write_all(&[0; 16]).await.unwrap();
            assert!(tokio::time::timeout(2 * SOON, server.read_u8()).await.is_err());
            client.read_exact(&mut [0; 16]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn first_head_is_timed_from_the_connection_on() {
        for is_silent in [true, false] {
            let (mut client, mut server, _) = pair(SOON, NEVER);
            let trickle = tokio::spawn(async move {
                while !is_silent && client.write_all(b"G").await.is_ok() {
                    tokio::time::sleep(SOON / 8).await;
                }
                client
            });
            let mut heard = Vec::new();
            let ended = tokio::time::timeout(LONG, server.read_to_end(&mut heard)).await.unwrap();
            assert_eq!(kind(ended), Some(io::ErrorKind::TimedOut), "silent: {is_silent}");
            drop(server);
            trickle.await.unwrap();
        }
    }

    #[tokio::test]
    async fn head_is_timed_from_its_first_byte_and_body_is_not() {
        let (mut client, mut server, turn) = pair(SOON, NEVER);
        let wait = 2 * SOON;
        for _ in 0..2 {
            client.write_all(b"G").await.unwrap();
            server.read_u8().await.unwrap();
            let answering = turn.answer();
            client.write_all(b"body").await.unwrap();
            server.read_exact(&mut [0; 4]).await.unwrap();
            assert!(tokio::time::timeout(wait, server.read_u8()).await.is_err(), "its body");
            drop(answering);
            assert!(tokio::time::timeout(wait, server.read_u8()).await.is_err(), "idle again");
        }
        client.write_all(b"G").await.unwrap();
        server.read_u8().await.unwrap();
        let ended = tokio::time::timeout(LONG, server.read_u8()).await.unwrap();
        assert_eq!(kind(ended), Some(io::ErrorKind::TimedOut));
    }
}
