//! How much of the gateway its clients may take.

use axum::Router;
use chassis::{
    http::{self, Bounds, LARGEST_HEAD},
    service::{Runtime, StartError},
};
use tokio::net::TcpListener;

use crate::{extract, intake, webhook};

/// Many, because each listener of the stream of events has one for as long as he listens.
pub(crate) const CONNECTIONS: u32 = 8_192;
const BOUNDS: Bounds = Bounds::of(CONNECTIONS);

/// The memory limit of the gateway in `docker-compose.yml` and `deploy/k8s/kustomization.yaml`, in bytes.
const MEMORY: usize = 256 * 1024 * 1024;
/// The process itself: keys, buckets of the limiters, channels, what is being answered.
const OWN: usize = 64 * 1024 * 1024;
/// What all clients together make us hold. Anybody: a head that does not end, or a listener, who costs no more than
/// that, 8,192 × 16 KiB = 128 MiB; and 64 webhooks, 64 × 256 KiB = 16 MiB. People who have signed in: bodies that do not
/// end, 8,192 × 1 KiB = 8 MiB and 512 × 64 KiB = 32 MiB. 184 MiB.
const HELD: usize = CONNECTIONS as usize * (LARGEST_HEAD + extract::SMALL_BODY)
    + extract::BODIES * extract::BODY_LIMIT
    + intake::PLACES * webhook::BODY_LIMIT;
const _: () = assert!(HELD + OWN <= MEMORY, "clients could have the gateway killed");

/// Serves routes until the process stops: open requests are finished, then connections close.
pub async fn listen(router: Router, listener: TcpListener, runtime: &Runtime) -> Result<(), StartError> {
    http::serve(router, listener, &runtime.lifecycle, BOUNDS).await;
    Ok(())
}
