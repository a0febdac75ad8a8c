//! Serves the routes on a socket, within the memory that clients may use.

use axum::Router;
use chassis::{
    http::{self, Bounds, LARGEST_HEAD},
    service::{Runtime, StartError},
};
use tokio::net::TcpListener;

use crate::{
    config::HttpConfig,
    connections::{CONNECTIONS, Connections},
    extract, intake, limits,
    streams::state::MISSED_BYTES_OF_ALL,
    webhook,
};

const BOUNDS: Bounds = Bounds::of(CONNECTIONS);

/// The memory limit of the gateway in `docker-compose.yml` and `deploy/k8s/kustomization.yaml`, in bytes.
const MEMORY: usize = 384 * 1024 * 1024;
/// The memory of the process itself: keys, buckets of the limiters, channels, answers in progress.
const OWN: usize = 64 * 1024 * 1024;
/// The memory of a connection without its head: hyper's state, our state, buffers. Measured with 8,192 connections: 11
/// KiB for a silent one, 31 KiB with the largest head.
const CONNECTION: usize = 16 * 1024;
/// The memory that all clients together can occupy, 320 MiB.
///
/// Any client: connections with heads that do not end, or listeners, which cost no more, 8,192 × 32 KiB = 256 MiB; 64
/// webhooks, 64 × 256 KiB = 16 MiB; events that listeners missed and have not read, 8 MiB. Signed-in users and holders
/// of a Nostr key: bodies that do not end, 8,192 × 1 KiB = 8 MiB and (448 + 64) × 64 KiB = 32 MiB.
const HELD: usize = CONNECTIONS as usize * (CONNECTION + LARGEST_HEAD + extract::SMALL_BODY)
    + (limits::BODIES + limits::BODIES_OF_KEYS) * extract::BODY_LIMIT
    + intake::SLOTS * webhook::BODY_LIMIT
    + MISSED_BYTES_OF_ALL;
const _: () = assert!(HELD + OWN <= MEMORY, "clients could exceed the memory limit of the gateway");

/// Serves routes until the process stops. On a stop, open requests are finished, then connections close.
pub async fn listen(
    router: Router,
    listener: TcpListener,
    config: &HttpConfig,
    runtime: &Runtime,
) -> Result<(), StartError> {
    let connections = Connections::at_most(config.connections_per_address, config.trusted_proxies.clone());
    let admit = move |peer| connections.admit(peer);
    http::serve_admitted(router, listener, &runtime.lifecycle, BOUNDS, admit).await;
    Ok(())
}
