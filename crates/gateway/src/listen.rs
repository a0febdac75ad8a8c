//! How much of the gateway its clients may take.

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
    streams::hub,
    webhook,
};

const BOUNDS: Bounds = Bounds::of(CONNECTIONS);

/// The memory limit of the gateway in `docker-compose.yml` and `deploy/k8s/kustomization.yaml`, in bytes.
const MEMORY: usize = 384 * 1024 * 1024;
/// The process itself: keys, buckets of the limiters, channels, what is being answered.
const OWN: usize = 64 * 1024 * 1024;
/// A connection besides its head: hyper's and our state, buffers. Measured with 8,192 of them: 11 KiB silent, 31 KiB
/// with the largest head.
const CONNECTION: usize = 16 * 1024;
/// What all clients together make us hold. Anybody: connections with heads that do not end, or listeners, who cost no
/// more, 8,192 × 32 KiB = 256 MiB; 64 webhooks, 64 × 256 KiB = 16 MiB; what listeners missed and do not take, 8 MiB.
/// Who has signed in or signs with a Nostr key: bodies that do not end, 8,192 × 1 KiB = 8 MiB and (448 + 64) × 64 KiB
/// = 32 MiB. 320 MiB.
const HELD: usize = CONNECTIONS as usize * (CONNECTION + LARGEST_HEAD + extract::SMALL_BODY)
    + (limits::BODIES + limits::BODIES_OF_KEYS) * extract::BODY_LIMIT
    + intake::PLACES * webhook::BODY_LIMIT
    + hub::MISSED;
const _: () = assert!(HELD + OWN <= MEMORY, "clients could have the gateway killed");

/// Serves routes until the process stops: open requests are finished, then connections close.
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
