//! The HTTP server: every connection is cheap and limited in time, whatever its client does.
//!
//! axum's own server waits for headers forever and accepts any number of connections. Here a client that is silent,
//! sends slowly or does not read its answer is disconnected, and connections beyond a limit wait in the kernel's queue.
//! HTTP/1.1 only: TLS and HTTP/2 end at the proxy in front. It serves the gateway and the operations port.

mod peer;
mod watched;

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

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

pub use self::peer::Peer;

/// Limits of what clients may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections: u32,
    /// From the last answer, or the connection, to the end of the next request's headers. Longer than clients keep idle
    /// connections; otherwise they would send into a connection that we are closing.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers. For the first request, from the connection.
    pub headers_timeout: Duration,
    /// How long a write may wait for the client to read.
    pub write_timeout: Duration,
}

impl Bounds {
    /// For unknown clients. Proxies and scrapers keep idle connections for 60 s.
    #[must_use]
    pub const fn of(connections: u32) -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections,
            idle_timeout: seconds(75),
            headers_timeout: seconds(15),
            write_timeout: seconds(30),
        }
    }
}

/// Limit of a request's headers, in bytes. Every connection would hold hyper's default of 400 KiB.
pub const LARGEST_HEAD: usize = 16 * 1024;

/// Serves routes until the process stops. Open requests are finished, then connections close.
pub async fn serve(router: Router, listener: TcpListener, lifecycle: &Lifecycle, bounds: Bounds) {
    serve_admitted(router, listener, lifecycle, bounds, |_| Some(())).await;
}

/// As [`serve`], for clients whose address `admit` accepts: each connection holds what it returns. Other connections are
/// closed at once.
pub async fn serve_admitted<T: Send + 'static>(
    router: Router,
    mut listener: TcpListener,
    lifecycle: &Lifecycle,
    bounds: Bounds,
    admit: impl Fn(IpAddr) -> Option<T> + Send + 'static,
) {
    let own = lifecycle.clone();
    let accepting = async move {
        let (stopping, router) = (own.stopping(), router.with_state(()));
        let permits = Arc::new(Semaphore::new(bounds.connections as usize));
        let mut http = http1::Builder::new();
        // hyper counts idle time as part of this timeout. `Watched` limits the time of a head that has begun.
        http.timer(TokioTimer::new()).header_read_timeout(bounds.idle_timeout).max_buf_size(LARGEST_HEAD);
        http.half_close(true); // a client may close its half and still wait for the answer
        loop {
            let next =
                // The permit comes first: at the limit, clients wait in the kernel's queue and cost this
                // process nothing.
                async { (Arc::clone(&permits).acquire_owned().await, Listener::accept(&mut listener).await) };
            let Some((permit, (stream, peer))) = stopping.run_until_cancelled(next).await else { break };
            // A dual-stack socket reports IPv4 clients as `::ffff:a.b.c.d`.
            let Some(admitted) = admit(peer.ip().to_canonical()) else { continue };
            let served =
                serve_connection(http.clone(), router.clone(), (stream, peer), bounds, stopping.clone());
            let served = served.boxed(); // otherwise each layer below holds its size again: 6 KiB per connection
            own.spawn("http connection", async move {
                served.await;
                drop((permit, admitted));
            });
        }
        // Closed before the wait below: new clients are refused at once and go to another replica.
        drop(listener);
        let _ = permits.acquire_many(bounds.connections).await; // the last connection has ended
    };
    let _ = lifecycle.spawn("http server", accepting).await; // an error or None: the hard stop
}

/// Serves one connection until either side closes it.
async fn serve_connection(
    http: http1::Builder,
    router: Router,
    (stream, peer): (TcpStream, SocketAddr),
    bounds: Bounds,
    stopping: CancellationToken,
) {
    let _ = stream.set_nodelay(true); // an error only makes it slower
    let turn = Turn::default();
    let client = Peer::new(stream);
    let stream = Watched::new(client.io(), turn.clone(), bounds.headers_timeout, bounds.write_timeout);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let answering = turn.answer();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(client.clone());
        router.clone().call(request).map(move |answer| {
            drop(answering);
            answer.map(with_security_headers)
        })
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopping.cancelled() => {
            // Idle connections close at once, busy ones after their answer.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Adds headers for browsers: `nosniff` on every answer, and on pages headers that forbid other pages to frame them.
fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        let policy = HeaderValue::from_static("frame-ancestors 'none'");
        // `or_insert`: a page may have a policy of its own.
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    response
}

#[cfg(test)]
mod tests;
