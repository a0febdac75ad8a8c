//! The HTTP server: whatever clients do with a connection, it costs little and it ends.
//!
//! axum's own server waits for headers for ever and takes any number of connections. Here a silent or trickling
//! client is put out, one that does not read its answer too, and those beyond a bound wait in the kernel's queue.
//! HTTP/1.1 only: TLS and HTTP/2 end at the proxy in front. The gateway and the operations port are served by it.

mod watched;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderValue, header},
    response::Response,
    serve::Listener,
};
use futures::FutureExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use self::watched::{Turn, Watched};
use crate::lifecycle::Lifecycle;

/// What clients may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections: u32,
    /// From the last answer, or the connection, to the end of the next request's headers. Longer than clients keep
    /// idle connections: else they would send into one that we are closing.
    pub idle_within: Duration,
    /// From the first byte of a request to the end of its headers.
    pub headers_within: Duration,
    /// How long a write may wait for the client to read.
    pub written_within: Duration,
}

impl Bounds {
    /// For clients of whom nothing is known. Proxies and scrapers keep idle connections for 60 s.
    #[must_use]
    pub const fn of(connections: u32) -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections,
            idle_within: seconds(75),
            headers_within: seconds(15),
            written_within: seconds(30),
        }
    }
}

/// All headers of a request, in bytes: hyper's own 400 KiB would be held by every connection.
pub const LARGEST_HEAD: usize = 16 * 1024;

/// Serves routes until the process stops: open requests are finished, then connections close.
pub async fn serve(router: Router, mut listener: TcpListener, lifecycle: &Lifecycle, bounds: Bounds) {
    let own = lifecycle.clone();
    let accepting = async move {
        let (stopping, router) = (own.stopping(), router.with_state(()));
        let places = Arc::new(Semaphore::new(bounds.connections as usize));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(bounds.idle_within).max_buf_size(LARGEST_HEAD);
        loop {
            let next =
                async { (Arc::clone(&places).acquire_owned().await, Listener::accept(&mut listener).await) };
            let Some((place, (stream, peer))) = stopping.run_until_cancelled(next).await else { break };
            let talk = converse(http.clone(), router.clone(), (stream, peer), bounds, stopping.clone());
            let talk = talk.boxed(); // else each layer below holds its size once more: 6 KiB for each connection
            own.spawn("http connection", async move {
                talk.await;
                drop(place);
            });
        }
        drop(listener);
        let _ = places.acquire_many(bounds.connections).await; // the last connection has ended
    };
    let _ = lifecycle.spawn("http server", accepting).await; // nothing: the hard stop
}

/// One connection, until either side has had enough.
async fn converse(
    http: http1::Builder,
    router: Router,
    (stream, peer): (TcpStream, SocketAddr),
    bounds: Bounds,
    stopping: CancellationToken,
) {
    let _ = stream.set_nodelay(true); // only slower without
    let turn = Turn::default();
    let stream = Watched::new(stream, turn.clone(), bounds.headers_within, bounds.written_within);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let answering = turn.answer();
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request).map(move |answer| {
            drop(answering);
            answer.map(hardened)
        })
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// With the headers that keep browsers from guessing: no answer is taken for another type than it says, and no page of
/// ours is shown in a frame of another one.
fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        let policy = HeaderValue::from_static("frame-ancestors 'none'");
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    response
}

/// Text as it may stand in HTML, between tags and in quoted attributes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Body, routing::get};
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BOUNDS: Bounds = Bounds::of(16);
    const SOON: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    const WHOLE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    async fn start(bounds: Bounds) -> (SocketAddr, Lifecycle) {
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| std::future::ready(peer.to_string());
        start_with(Router::new().route("/", get(who)), bounds).await
    }

    async fn start_with(router: Router, bounds: Bounds) -> (SocketAddr, Lifecycle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, lifecycle) = (listener.local_addr().unwrap(), Lifecycle::new());
        let own = lifecycle.clone();
        tokio::spawn(async move { serve(router, listener, &own, bounds).await });
        (address, lifecycle)
    }

    /// Everything that the server says until it closes the connection.
    async fn hear(stream: &mut TcpStream) -> String {
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
        let _ = ended.expect("the server closes the connection"); // reset is closed too
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn whoever_says_nothing_more_is_put_out() {
        let (address, _lifecycle) = start(Bounds { idle_within: SOON, ..BOUNDS }).await;
        for begun in [&b""[..], b"GET / HT", WHOLE] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(begun).await.unwrap();
            let answered = hear(&mut client).await.starts_with("HTTP/1.1 200");
            assert_eq!(answered, begun == WHOLE, "{}", begun.escape_ascii());
        }
    }

    #[tokio::test]
    async fn half_a_head_is_put_out_and_an_idle_connection_is_not() {
        let (address, _lifecycle) = start(Bounds { headers_within: SOON, ..BOUNDS }).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            tokio::time::sleep(3 * SOON).await; // that long it was idle
            client.write_all(WHOLE).await.unwrap();
            let (me, mut heard) = (client.local_addr().unwrap().to_string(), Vec::new());
            while !heard.ends_with(me.as_bytes()) {
                heard.push(client.read_u8().await.unwrap());
            }
        }
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n").await.unwrap();
        assert_eq!(hear(&mut client).await, "");
    }

    #[tokio::test]
    async fn whoever_does_not_read_his_answer_gives_his_place_back() {
        let bounds = Bounds { written_within: SOON, ..Bounds::of(1) };
        let endless = || async { vec![0; 32 * 1024 * 1024] }; // more than the kernels keep
        let (address, lifecycle) = start_with(Router::new().route("/", get(endless)), bounds).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(WHOLE).await.unwrap();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(WHOLE).await.unwrap();
        let served = tokio::time::timeout(Duration::from_secs(10), next.readable()).await;
        served.expect("the place is free again").unwrap();
        drop(next);
        assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_stream_may_be_silent_for_longer_than_a_write_may_wait() {
        let bounds = Bounds { written_within: SOON, headers_within: SOON, ..BOUNDS };
        let events = || async {
            Body::from_stream(stream::unfold(0, |n| async move {
                tokio::time::sleep(2 * SOON).await;
                (n < 3).then(|| (Ok::<_, Infallible>("data: x\n\n"), n + 1))
            }))
        };
        let (address, _lifecycle) = start_with(Router::new().route("/", get(events)), bounds).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(REQUEST).await.unwrap();
        assert_eq!(hear(&mut client).await.matches("data: x").count(), 3);
    }

    #[tokio::test]
    async fn headers_without_end_are_refused() {
        let (address, _lifecycle) = start(BOUNDS).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let flood = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 16 * 1024]].concat();
        let _ = client.write_all(&flood).await; // the server may have closed already
        assert!(!hear(&mut client).await.contains(" 200 "));
    }

    #[tokio::test]
    async fn beyond_the_bound_connections_wait_for_a_place() {
        let (address, _lifecycle) = start(Bounds { connections: 1, ..BOUNDS }).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
        assert!(waiting.is_err(), "it is not served beside the first");
        drop(first);
        let answer = hear(&mut second).await;
        assert!(answer.ends_with(&second.local_addr().unwrap().to_string()), "{answer}");
    }

    #[tokio::test]
    async fn a_stop_closes_idle_connections_at_once() {
        let (address, lifecycle) = start(BOUNDS).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(WHOLE).await.unwrap();
        idle.readable().await.unwrap();
        assert_eq!(lifecycle.stop(Duration::from_secs(5)).await, 0);
        assert!(hear(&mut idle).await.starts_with("HTTP/1.1 200"));
    }
}
